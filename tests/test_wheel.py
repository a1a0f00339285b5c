"""The wheel is the tree: what is in the three folders is what people install."""

import importlib
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.services import ROOT

FOLDERS = ("router", "consumers", "schemas")
CLIENT = "router/client/"
UNWANTED = shutil.ignore_patterns("__pycache__", "*.pyc")


class Wheel(NamedTuple):
    """The names of its files, and what was said while it was built."""

    files: set[str]
    output: str


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Wheel:
    """Of a copy of the tree."""
    tree = tmp_path_factory.mktemp("tree")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tree / folder, ignore=UNWANTED)
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / file, tree)
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist", "."],
        cwd=tree,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
    )
    (wheel,) = (tree / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return Wheel(set(archive.namelist()), done.stdout)


@pytest.fixture
def wheel(built: Wheel) -> set[str]:
    return built.files


def _in_the_wheel(path: Path) -> str:
    """Where a file of the tree is in the wheel: the client lies beside the router there."""
    name = str(path.relative_to(ROOT))
    return f"event_router/{name.removeprefix('router/') if name.startswith(CLIENT) else name}"


def _tree() -> set[str]:
    return {
        _in_the_wheel(path)
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_every_file_of_the_three_folders_is_in_the_wheel(wheel: set[str]) -> None:
    assert _tree() - wheel == set()


def test_the_wheel_has_nothing_else_but_what_describes_it(wheel: set[str]) -> None:
    others = {name for name in wheel - _tree() if ".dist-info/" not in name}
    assert others == set()


def test_it_is_built_without_a_warning(built: Wheel) -> None:
    said = [line for line in built.output.splitlines() if "byte-compiling is disabled" not in line]
    assert "running bdist_wheel" in said
    assert [line for line in said if "warning" in line.lower() or "absent" in line] == []


def test_every_folder_with_modules_or_scripts_is_a_listed_package() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        listed = set(tomllib.load(file)["tool"]["setuptools"]["packages"])
    found = {
        _in_the_wheel(path.parent / "x").removesuffix("/x").replace("/", ".")
        for folder in FOLDERS
        for pattern in ("*.py", "*.lua")
        for path in Path(ROOT / folder).rglob(pattern)
    }
    assert found == listed


def test_the_client_has_one_name_only() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"imported as event_router\.client"):
        importlib.import_module("event_router.router.client")
