"""The hops: decode, decide, take effect; whoever calls one marks its records done."""
