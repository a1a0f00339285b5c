"""What the commands of `router` do that are no roles; `router/cli.py` reads the command line."""
