"""Another release of the router: a copy of this tree, with what a newer one would have changed."""

import shutil
from pathlib import Path

TREE = Path(__file__).parent.parent
PARTS = ("schemas", "consumers", "router")


def newer_release(folder: Path, *changes: tuple[str, str, str]) -> dict[str, str]:
    """The variables with which a process runs it. A change is a file, a text in it, another."""
    package = folder / "event_router"
    for part in PARTS:
        shutil.copytree(TREE / part, package / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file, before, after in changes:
        source = (package / file).read_text()
        assert source.count(before) == 1, (file, before)
        (package / file).write_text(source.replace(before, after))
    return {"PYTHONPATH": str(folder)}
