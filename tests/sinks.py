"""Destinations, deliveries and what sinks share: the ones that others test their sinks with."""

from event_router.consumers.testing.values import (
    a_delivery,
    a_destination,
    local_resources,
    resources_with,
)

__all__ = ["a_delivery", "a_destination", "local_resources", "resources_with"]
