"""Every sink of ours passes the contract suite that others run on theirs."""

import importlib
from pathlib import Path

from event_router.consumers.sinks.kinds import load_sinks
from event_router.consumers.testing import SinkContract

SINKS = load_sinks()
MODULES = sorted((Path(__file__).parent / "sinks").glob("test_*.py"))


def contracts(module: str) -> set[str]:
    """The types that the module's classes of tests are for."""
    found = vars(importlib.import_module(f"tests.contracts.sinks.{module}")).values()
    classes = [one for one in found if isinstance(one, type) and issubclass(one, SinkContract)]
    return {one.type for one in classes if one.__name__.startswith("Test")}


def delivering() -> list[str]:
    return [name for name in SINKS.names if hasattr(SINKS.described(name), "deliver")]


def test_every_sink_has_its_contract_in_a_module_of_its_name() -> None:
    tested = {path.stem.removeprefix("test_"): contracts(path.stem) for path in MODULES}
    assert tested == {name: {name} for name in delivering()}


def test_every_sink_is_installed_here() -> None:
    assert {name: SINKS.lack(name) for name in delivering()} == dict.fromkeys(delivering(), "")
