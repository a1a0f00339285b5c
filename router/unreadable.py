"""Says which destinations can't be read: once in the log, and in the role's health as long as it
lasts. What is for them waits; what is for others doesn't."""

import logging
from dataclasses import dataclass, field

from event_router.consumers.health import Health
from event_router.consumers.ports import TenantView

log = logging.getLogger(__name__)

WARNING = "destinations"


@dataclass(slots=True)
class Unreadable:
    """Those among the destinations that were loaded: by tenant, why each can't be read."""

    health: Health
    _known: dict[str, dict[str, str]] = field(default_factory=dict)

    def note(self, view: TenantView) -> None:
        """For every view that is loaded. One line a tenant, when what is to be said of it has
        changed: with a key missing there may be thousands."""
        found = {one.id: one.unreadable for one in view.destinations.values() if one.unreadable}
        if found == self._known.get(view.tenant, {}):
            return
        if found:
            self._known[view.tenant] = found
            first, why = next(iter(found.items()))
            said = {"tenant": view.tenant, "destination": first, "detail": why, "of": len(found)}
            log.error("destinations.unreadable", extra=said)
        else:
            del self._known[view.tenant]
            log.warning("destinations.readable", extra={"tenant": view.tenant})
        self._warn()

    def _warn(self) -> None:
        """Without names: `/healthz` is for everybody."""
        count = sum(map(len, self._known.values()))
        if count:
            self.health.warnings[WARNING] = (
                f"{count} can't be read, and what is for them waits: `router doctor` names them"
            )
        else:
            self.health.warnings.pop(WARNING, None)
