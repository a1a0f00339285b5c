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
    """The faults in a comma-separated list, without those that it has a `-` before; `all` are
    those that go with the database. Raises Unknown."""
    listed = [name.strip() for name in names.split(",")]
    without = {_named(name[1:], database).name for name in listed if name.startswith("-")}
    found = [] if "all" not in listed else [*FAULTS.values()]
    found = [one for one in found if one.only in (None, database) and one.name not in without]
    found += [_named(one, database) for one in listed if one != "all" and not one.startswith("-")]
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
