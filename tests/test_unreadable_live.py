"""A destination whose key some roles haven't got: it waits, and nobody else does."""

import base64
from pathlib import Path

import httpx

from tests import services
from tests.system import System
from tests.test_loop_live import TENANT, Loop, binary, loop

OTHER_KEY = f"other:{base64.b64encode(bytes(reversed(range(32)))).decode()}"


async def test_what_is_for_a_destination_whose_key_is_missing_waits_until_the_key_is_back(
    kafka: services.Kafka, redis_url: str, namespace: str, tmp_path: Path
) -> None:
    async with loop((kafka.bootstrap, redis_url, {}), namespace, tmp_path) as here:
        both = f"{OTHER_KEY},{here.system.env['ROUTER_SECRETS_KEYS']}"
        await here.ask("PUT", f"/tenants/{TENANT}", 201)
        await here.make_destination("healthy")
        await _restart(here.system, "api", both)
        await here.make_destination("locked")

        ids = {f"e{number}" for number in range(20)}
        await here.write(*(binary(here.system.topics.events, one) for one in sorted(ids)))
        await here.until(lambda: here.receiver.delivered("/healthy").keys() == ids)
        await here.system.quiet(30)
        assert not here.receiver.got("/locked")
        assert (await _warning(here, "deliver")).startswith("1 can't be read")
        assert "the key 'other' isn't in ROUTER" in here.system.log("deliver").read_text()
        for command in ("doctor", "secrets status"):
            said = await here.system.command(*command.split(), code=1)
            assert f"{TENANT}/locked" in said, said
            assert "'other'" in said, said

        await _restart(here.system, "deliver", both)
        await here.ask("PUT", f"/tenants/{TENANT}/destinations/locked/enable")  # opens its door
        await here.until(lambda: here.receiver.delivered("/locked").keys() == ids)
        assert here.receiver.delivered("/healthy") == dict.fromkeys(ids, 1)
        assert await _warning(here, "deliver") == ""


async def _restart(system: System, role: str, keys: str) -> None:
    await system.end(role)
    system.start(role, ROUTER_SECRETS_KEYS=keys)
    await system.ready()


async def _warning(here: Loop, role: str) -> str:
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"{here.system.health[role]}/readyz")
    assert answer.status_code == 200
    return str(answer.json()["warnings"].get("destinations", ""))
