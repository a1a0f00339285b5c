"""Destinations of each type; each is found by its entry point in `event_router.sinks`."""
