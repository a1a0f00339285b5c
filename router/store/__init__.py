"""State in SQL: the registry of tenants and destinations, and the log of what happened."""
