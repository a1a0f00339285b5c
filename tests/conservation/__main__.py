"""By hand, for any length. Exits with 1 when anything wasn't conserved, and keeps the logs of all
processes then."""

import argparse
import asyncio
import logging
import random
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.conservation.faults import FAULTS, Unknown, chosen
from tests.conservation.report import show, show_burst, shown, write, write_burst
from tests.conservation.retry_burst import retry_burst
from tests.conservation.storm import Plan, Result, begin, run


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.conservation", description=__doc__)
    parser.add_argument(
        "what", nargs="?", choices=("faults", "retry-burst"), default="faults",
        help="faults at random (default), or 6,000 events to a destination that comes back",
    )  # fmt: skip
    parser.add_argument("--minutes", type=float, default=5, help="how long faults strike (5)")
    parser.add_argument("--seed", type=int, help="of the events and of the faults (any)")
    parser.add_argument("--faults", default="all", help="all, or names, comma-separated (all)")
    parser.add_argument("--list-faults", action="store_true", help="names, and what they do")
    parser.add_argument("--rate", type=float, default=30, help="events/s (30)")
    parser.add_argument("--database", choices=("postgres", "sqlite"), default="postgres")
    parser.add_argument("--write", action="store_true", help="the tables to docs/reliability.md")
    return parser.parse_args()


async def _shown(plan: Plan, folder: Path) -> Result:
    now = begin(plan)
    async with shown(now):
        return await run(plan, now, folder)


def _storm(given: argparse.Namespace, plan: Plan, folder: Path) -> bool:
    """Whether everything was conserved."""
    result = asyncio.run(_shown(plan, folder))
    show(result)
    if given.write:
        write(result, f"python -m tests.conservation {shlex.join(sys.argv[1:])}")
    return not result.problems


def _burst(given: argparse.Namespace, seed: int, folder: Path) -> bool:
    result = asyncio.run(retry_burst(seed, folder, given.database))
    show_burst(result)
    if given.write:
        write_burst(result)
    return not result.problems


def _silence() -> None:
    """What aiokafka says of a Kafka that we have killed, and of the tasks that it leaves behind."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    left = "Task was destroyed but it is pending"
    logging.getLogger("asyncio").addFilter(lambda line: left not in line.getMessage())


def main() -> int:
    given = _arguments()
    _silence()
    if given.list_faults:
        for one in FAULTS.values():
            sys.stdout.write(f"{one.name:20} {one.about}\n")
        return 0
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    try:
        run_it = _chosen(given, seed)
    except Unknown as unknown:
        sys.stderr.write(f"{unknown}\n")
        return 2
    folder = Path(tempfile.mkdtemp(prefix="event-router-conservation-"))
    sys.stderr.write(f"seed {seed}; logs of all processes in {folder}\n")
    good = run_it(folder)
    if good:
        shutil.rmtree(folder)
    return 0 if good else 1


def _chosen(given: argparse.Namespace, seed: int) -> Callable[[Path], bool]:
    """What is to run in a folder. Raises Unknown."""
    if given.what == "retry-burst":
        return partial(_burst, given, seed)
    faults = chosen(given.faults, given.database)
    return partial(
        _storm, given, Plan(seed, given.minutes * 60, faults, given.rate, given.database)
    )


if __name__ == "__main__":
    sys.exit(main())
