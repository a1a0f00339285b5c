"""Client certificates of webhooks through the API: made, never shown, renewed, taken away."""

from typing import Any

from tests.api.world import World, destination_body
from tests.https import issued, trusted

CONFIG = {"url": "https://example.com/", "ca_certificate": trusted()}
STARS = {"client_certificate": "----********", "client_key": "----********"}
ONE = "tenants/acme/destinations/d"


async def stored(world: World) -> dict[str, Any]:
    (found,) = await world.services.registry.destinations(("acme",))
    return dict(found.credentials)


async def made(world: World) -> dict[str, Any]:
    """A destination with a client certificate, as it is shown."""
    await world.tenant()
    credentials = issued("client").credentials
    shown: dict[str, Any] = await world.destination(
        id="d", type="webhook", config=CONFIG, credentials=credentials
    )
    assert credentials.items() <= (await stored(world)).items()
    return shown


async def test_a_client_certificate_and_its_key_are_shown_as_stars(world: World) -> None:
    shown = await made(world)
    assert shown["config"] == CONFIG
    assert shown["credentials"].pop("secret").startswith("whsec_")
    assert shown["credentials"] == STARS


async def test_what_is_sent_back_as_it_was_shown_is_no_change(world: World) -> None:
    shown, before = await made(world), await stored(world)
    again = {"config": shown["config"], "credentials": shown["credentials"]}
    assert (await world.client.patch(ONE, json=again)).json() == shown
    assert await stored(world) == before


async def test_a_certificate_is_renewed_with_its_key_and_taken_away(world: World) -> None:
    await made(world)
    new = issued("client").credentials
    half = {"credentials": {"client_certificate": new["client_certificate"]}}
    refused = await world.client.patch(ONE, json=half)
    assert refused.status_code == 422
    assert "the key of client_certificate" in refused.text
    assert (await world.client.patch(ONE, json={"credentials": new})).status_code == 200
    assert new.items() <= (await stored(world)).items()
    none = {"client_certificate": None, "client_key": None}
    assert (await world.client.patch(ONE, json={"credentials": none})).status_code == 200
    assert list(await stored(world)) == ["secret"]


async def test_a_refusal_repeats_nothing_of_what_was_entered(world: World) -> None:
    await world.tenant()
    pem = issued("client")
    mixed_up = {"client_certificate": pem.key, "client_key": pem.certificate}
    body = destination_body(type="webhook", config=CONFIG, credentials=mixed_up)
    answer = await world.client.post("tenants/acme/destinations", json=body)
    assert answer.status_code == 422
    assert "credentials.client_certificate" in answer.text
    assert not any(line in answer.text for line in pem.key.splitlines()[1:-1])
