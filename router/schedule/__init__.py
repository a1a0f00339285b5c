"""The schedule: a queue per destination, from which the worker takes as it has room."""
