"""The roles: each a process of its own, any number of each."""
