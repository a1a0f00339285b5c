"""Can destinations be delivered to: are the sinks of their types installed?"""

from event_router.consumers.sinks.kinds import load_sinks
from event_router.router.checks.databases import destinations_by_type
from event_router.router.checks.finding import Finding, ok, problem
from event_router.schemas.errors import InvalidValue, Unavailable


async def examine_sinks(registry_url: str) -> Finding:
    """Types without a sink are named; a problem where a destination is of such a type."""
    sinks = load_sinks()
    missing = [name for name in sinks.names if not sinks.is_installed(name)]
    installed = [name for name in sinks.names if name not in missing]
    try:
        used = await destinations_by_type(registry_url)
    except (InvalidValue, Unavailable, TimeoutError):
        used = {}  # the check of the database says what is wrong with it
    return judge_sinks(installed, missing, used)


def judge_sinks(installed: list[str], missing: list[str], used: dict[str, int]) -> Finding:
    """`used` says how many destinations there are of each type."""
    lacking = [f"{used[name]} of {name}" for name in sorted(used) if name not in installed]
    if lacking:
        return problem(
            "sinks",
            f"deliveries fail with sink_not_installed: destinations {', '.join(lacking)}",
            "install their sinks, as `router sinks` says, or delete them",
        )
    without = f"; without a sink: {', '.join(missing)}" if missing else ""
    return ok("sinks", f"{', '.join(installed)} are installed{without}")
