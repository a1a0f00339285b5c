"""The demo: a tenant, a receiver, events without end, and a view of what becomes of them."""
