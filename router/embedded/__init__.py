"""Services for one machine: what `router up` starts when no address is given."""
