"""Tenants' destinations, kept in memory for as long as their version tokens stay the same.

The token is read before the destinations are, and what is loaded is kept under the token read
first: a write in between has set another one, so an old view is never kept under a new token.
"""

import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from event_router.consumers.ports import TenantView, Versions
from event_router.router.store.ports import Registry
from event_router.schemas.destination import Destination
from event_router.schemas.errors import Unavailable

WITHOUT_TOKEN = 1.5
LONGEST = 30.0
MOST_TENANTS = 10_000


@dataclass(frozen=True, slots=True)
class _Kept:
    view: TenantView
    token: str | None
    loaded: float


def _nobody_looks(_: TenantView) -> None:
    """At what is loaded."""


@dataclass(slots=True)
class CachedDirectory:
    """A Directory over a Registry. `clock` is monotonic, in seconds.

    Without a token (Redis is down, or was emptied) a view is kept for WITHOUT_TOKEN seconds. With
    one it is kept for LONGEST at most, should a write have been committed whose token could not
    be set: that write wasn't answered as done. `loaded` is shown each view that was.
    """

    registry: Registry
    versions: Versions
    clock: Callable[[], float] = time.monotonic
    loaded: Callable[[TenantView], None] = _nobody_looks
    _kept: OrderedDict[str, _Kept] = field(default_factory=OrderedDict)

    async def views(self, tenants: Collection[str]) -> Mapping[str, TenantView]:
        """One view a tenant; raises Unavailable when one must be loaded and can't be."""
        wanted = list(dict.fromkeys(tenants))
        if not wanted:
            return {}
        tokens = await self._tokens(wanted)
        # Gathered here, not read from `_kept` at the end: another call may keep an older view.
        found = {
            tenant: self._kept[tenant].view
            for tenant in wanted
            if self._current(tenant, tokens[tenant])
        }
        outdated = [tenant for tenant in wanted if tenant not in found]
        if outdated:
            found |= await self._load(outdated, tokens)
        self._forget_the_longest_unused(wanted)
        return found

    async def _tokens(self, tenants: list[str]) -> dict[str, str | None]:
        try:
            return dict(zip(tenants, await self.versions.get(tenants), strict=True))
        except Unavailable:
            return dict.fromkeys(tenants)

    def _current(self, tenant: str, token: str | None) -> bool:
        kept = self._kept.get(tenant)
        if kept is None or kept.token != token:
            return False
        age = self.clock() - kept.loaded
        return age < (WITHOUT_TOKEN if token is None else LONGEST)

    async def _load(
        self, tenants: list[str], tokens: Mapping[str, str | None]
    ) -> dict[str, TenantView]:
        began = self.clock()
        by_tenant = _grouped(await self.registry.destinations(tenants))
        loaded = {tenant: TenantView(tenant, by_tenant[tenant]) for tenant in tenants}
        for tenant, view in loaded.items():
            self._kept[tenant] = _Kept(view, tokens[tenant], began)
            self.loaded(view)
        await self._renew(
            [name for name, view in loaded.items() if tokens[name] is None and view.destinations]
        )
        return loaded

    async def _renew(self, tenants: list[str]) -> None:
        """Tokens that were lost are set anew, for tenants with destinations only: ids that nobody
        knows must not fill Redis. What is kept has no token, and so is loaded once more."""
        try:
            for tenant in tenants:
                await self.versions.set(tenant)
        except Unavailable:
            return

    def _forget_the_longest_unused(self, used: Iterable[str]) -> None:
        for tenant in used:
            if tenant in self._kept:
                self._kept.move_to_end(tenant)
        while len(self._kept) > MOST_TENANTS:
            self._kept.popitem(last=False)


def _grouped(destinations: Iterable[Destination]) -> dict[str, dict[str, Destination]]:
    by_tenant: dict[str, dict[str, Destination]] = defaultdict(dict)
    for destination in destinations:
        by_tenant[destination.tenant][destination.id] = destination
    return by_tenant
