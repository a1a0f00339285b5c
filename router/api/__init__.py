"""The HTTP API, in the form that Outpost's clients speak."""
