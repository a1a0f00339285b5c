"""The contract of sinks on each of ours: one module a type, named after it."""
