"""What the image is made of is pinned with hashes, and is what pyproject.toml asks for."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINNED = re.compile(
    r"^(\S+)==(\S+)(?: ; (.+?))? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE
)
EXTRAS = ("server", "sinks", "s3")


def _asked(extra: str) -> Iterator[Requirement]:
    for text in PROJECT["project"]["optional-dependencies"][extra]:
        requirement = Requirement(text)
        if requirement.name == PROJECT["project"]["name"]:
            for other in requirement.extras:
                yield from _asked(other)
        else:
            yield requirement


def test_every_line_is_a_pin_with_hashes_and_names_no_place() -> None:
    assert PINNED.sub("", LOCK).strip() == ""
    assert "://" not in LOCK


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_pins_are_what_is_asked_for(extra: str) -> None:
    pins = {canonicalize_name(pin[1]): pin[2] for pin in PINNED.finditer(LOCK)}
    base = map(Requirement, PROJECT["project"]["dependencies"])
    build = map(Requirement, PROJECT["build-system"]["requires"])
    for requirement in (*base, *build, *_asked(extra)):
        pinned = pins.get(canonicalize_name(requirement.name))
        assert pinned, f"{requirement.name} isn't in requirements.lock: run `make lock`"
        assert requirement.specifier.contains(pinned), f"{requirement}, not {pinned}: `make lock`"


def test_the_image_installs_nothing_else() -> None:
    installs = re.findall(r"pip install (.+)", (ROOT / "Dockerfile").read_text())
    assert installs == [
        "--no-cache-dir --require-hashes -r requirements.lock",
        "--no-cache-dir --no-deps --no-build-isolation .",
    ]
