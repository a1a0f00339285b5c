"""TLS contexts: one for the same material, few kept, and nothing of a key gets out."""

import asyncio
import ssl

import pytest

from event_router.consumers.http1 import tls_contexts
from event_router.consumers.http1.tls_contexts import TlsContexts, TlsMaterial
from event_router.consumers.tls import tls_context
from tests.https import issued, trusted


def test_material_shows_nothing_of_itself() -> None:
    material = TlsMaterial(trusted(), *issued("client"))
    assert "-----" not in f"{material!r}{material}{(material,)}"


async def test_the_same_material_has_one_context(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []

    def building(*material: str | None) -> ssl.SSLContext:
        built.append(material)
        return tls_context(*material)

    monkeypatch.setattr(tls_contexts, "tls_context", building)
    contexts = TlsContexts(ssl.create_default_context())
    pem = issued("client")
    found = await asyncio.gather(*(contexts.of(TlsMaterial(trusted(), *pem)) for _ in range(20)))
    assert len(set(found)) == len(built) == 1


async def test_contexts_are_bounded_and_the_ones_used_last_stay() -> None:
    contexts = TlsContexts(ssl.create_default_context(), limit=2)
    one, two, three = (TlsMaterial(trusted(name)) for name in "abc")
    first = await contexts.of(one)
    second = await contexts.of(two)
    assert await contexts.of(one) is first
    await contexts.of(three)
    assert len(contexts) == 2
    assert await contexts.of(one) is first
    assert await contexts.of(two) is not second


async def test_without_material_there_is_the_common_context() -> None:
    common = ssl.create_default_context()
    contexts = TlsContexts(common)
    assert await contexts.of(None) is common
    assert len(contexts) == 0


async def test_material_that_cannot_be_used_is_not_kept() -> None:
    contexts = TlsContexts(ssl.create_default_context())
    with pytest.raises(ssl.SSLError):
        await contexts.of(TlsMaterial(None, *issued("client")._replace(key=issued("client").key)))
    assert len(contexts) == 0


async def test_without_authorities_of_ones_own_the_systems_are_trusted() -> None:
    contexts = TlsContexts(ssl.create_default_context())
    context = await contexts.of(TlsMaterial(None, *issued("client")))
    assert context.cert_store_stats() == ssl.create_default_context().cert_store_stats()
