"""What decides and wires: the Faust app, hops, matching, retry, schedule, store, API, CLI."""
