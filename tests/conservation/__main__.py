"""By hand, for any length. Exits with 1 when anything wasn't conserved, and keeps the logs of all
processes then."""

import argparse
import asyncio
import random
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from tests.conservation.faults import FAULTS, Unknown, chosen
from tests.conservation.report import show, shown, write
from tests.conservation.storm import Plan, Result, begin, run


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.conservation", description=__doc__)
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


def main() -> int:
    given = _arguments()
    if given.list_faults:
        for one in FAULTS.values():
            sys.stdout.write(f"{one.name:20} {one.about}\n")
        return 0
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    try:
        faults = chosen(given.faults, given.database)
    except Unknown as unknown:
        sys.stderr.write(f"{unknown}\n")
        return 2
    folder = Path(tempfile.mkdtemp(prefix="event-router-conservation-"))
    sys.stderr.write(f"seed {seed}; logs of all processes in {folder}\n")
    plan = Plan(seed, given.minutes * 60, faults, given.rate, given.database)
    result = asyncio.run(_shown(plan, folder))
    show(result)
    if given.write:
        write(result, f"python -m tests.conservation {shlex.join(sys.argv[1:])}")
    if result.problems:
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
