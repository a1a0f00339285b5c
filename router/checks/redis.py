"""Is Redis there, fit to hold the schedule, not full, and of one mind with us about the time?"""

import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from event_router.router.checks.finding import Finding, ok, problem, warning
from event_router.router.redis_pipe import RedisPipe, UnfitRedis, check_redis
from event_router.schemas.errors import InvalidValue, Unavailable, without_login

PATIENCE = 5.0
NEARLY_FULL = 0.95
LARGEST_SKEW = 2.0  # seconds


async def examine_redis(url: str, clock: Callable[[], float] = time.time) -> list[Finding]:
    """`clock`: seconds since the epoch, as this machine sees them."""
    try:
        pipe = RedisPipe(url, timeout=PATIENCE)
    except InvalidValue as error:
        return [problem("redis", str(error), "correct ROUTER_REDIS")]
    try:
        await check_redis(pipe)
        facts = _facts(await pipe.call("INFO"))
        seconds, micros = await pipe.call("TIME")
        skew = clock() - int(seconds) - int(micros) / 1e6
    except UnfitRedis as error:
        return [problem("redis", str(error), "change it, or set ROUTER_REDIS to another")]
    except Unavailable as error:
        detail = f"{shown_url(url)}: {error.detail}"
        return [problem("redis", detail, "start Redis, or set ROUTER_REDIS to its URL")]
    finally:
        await pipe.aclose()
    return [finding for finding in (_room(facts), _time(skew)) if finding] or [
        ok("redis", f"{facts['redis_version']} at {shown_url(url)}")
    ]


def _room(facts: Mapping[str, str]) -> Finding | None:
    used, most = int(facts["used_memory"]), int(facts.get("maxmemory", "0"))
    if not most or used < NEARLY_FULL * most:
        return None
    return problem(
        "redis",
        f"full: {used >> 20} MB of maxmemory {most >> 20} MB are used, so retries can't be parked",
        "raise maxmemory, or give the router a Redis of its own",
    )


def _time(skew: float) -> Finding | None:
    if abs(skew) <= LARGEST_SKEW:
        return None
    return warning(
        "redis",
        f"its clock is {abs(skew):.0f} s {'behind' if skew > 0 else 'ahead of'} this machine's",
        "synchronise both clocks (NTP): retries are due by the clock of Redis",
    )


def shown_url(url: str) -> str:
    """The URL without its password."""
    parts = urlsplit(url)
    if parts.password is None:
        return without_login(url)
    return url.replace(f":{parts.password}@", ":***@", 1)


def _facts(info: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in info.decode().splitlines())
    return {name: value for name, colon, value in lines if colon}
