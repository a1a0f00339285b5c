"""TLS of a destination's own: whom it trusts, and the certificate that it shows of itself.

A context with the system's authorities takes 30 ms of CPU and 800 kB of memory, so contexts are
shared by all who have the same material, few are kept, and they are built in a thread.
"""

import asyncio
import ssl
from dataclasses import dataclass

from event_router.consumers.tls import tls_context

CONTEXTS_KEPT = 64


@dataclass(frozen=True, slots=True, repr=False)
class TlsMaterial:
    """What `tls_context` takes, in PEM; it never shows itself."""

    authorities: str | None = None
    certificate: str | None = None
    key: str | None = None

    def context(self) -> ssl.SSLContext:
        """Raises ssl.SSLError for material that can't be used."""
        return tls_context(self.authorities, self.certificate, self.key)


class TlsContexts:
    """`default` is for those who have no material of their own. The `limit` used last are kept."""

    def __init__(self, default: ssl.SSLContext, limit: int = CONTEXTS_KEPT) -> None:
        self._default = default
        self._limit = limit
        self._kept: dict[TlsMaterial, ssl.SSLContext] = {}  # the one used last comes last
        self._one_at_a_time = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    async def of(self, material: TlsMaterial | None) -> ssl.SSLContext:
        """Raises ssl.SSLError for material that can't be used."""
        if material is None:
            return self._default
        context = self._known(material)
        if context is None:
            async with self._one_at_a_time:
                context = self._known(material)
                if context is None:
                    context = await asyncio.to_thread(material.context)
                    self._keep(material, context)
        return context

    def _keep(self, material: TlsMaterial, context: ssl.SSLContext) -> None:
        self._kept[material] = context
        if len(self._kept) > self._limit:
            del self._kept[next(iter(self._kept))]

    def _known(self, material: TlsMaterial) -> ssl.SSLContext | None:
        context = self._kept.pop(material, None)
        if context is not None:
            self._kept[material] = context
        return context
