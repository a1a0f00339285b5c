"""All faults, and choosing some of them."""

from tests.conservation import destination_faults, process_faults, service_faults
from tests.conservation.bed import Database
from tests.conservation.fault import FAULTS, Fault

__all__ = ["FAULTS", "Fault", "Unknown", "chosen"]

# Importing them has registered their faults.
MODULES = (process_faults, service_faults, destination_faults)


class Unknown(Exception):
    """No fault has that name, or it can't be had here; the message says what can."""


def chosen(names: str, database: Database) -> list[Fault]:
    """The faults in a comma-separated list; of `all`, those that go with the database. Raises
    Unknown."""
    if names == "all":
        found = [one for one in FAULTS.values() if one.only in (None, database)]
    else:
        found = [_named(name.strip(), database) for name in names.split(",")]
    if lacking := sorted({one.needs for one in found if one.needs}):
        raise Unknown(f"install {', '.join(lacking)}, or leave out the faults that need it")
    return found


def _named(name: str, database: Database) -> Fault:
    found = FAULTS.get(name)
    if found is None:
        raise Unknown(f"{name} is no fault; there are: {', '.join(FAULTS)}")
    if found.only not in (None, database):
        raise Unknown(f"{name} needs --database {found.only}")
    return found
