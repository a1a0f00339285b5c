"""Changing a webhook's secret: who may, and that nobody who receives it misses a signature."""

from typing import Any

import pytest

from event_router.consumers.signing import key_of, new_secret
from event_router.consumers.sinks.kinds import load_sinks
from event_router.schemas.errors import Forbidden, InvalidValue

SINKS = load_sinks()
NOW = 1_700_000_000_000
A_DAY_LATER = "2023-11-15T22:13:20+00:00"


def merged(old: dict[str, Any], patch: dict[str, Any], *, admin: bool = True) -> dict[str, Any]:
    """What would be stored."""
    fields = SINKS.merge_credentials("webhook", old, patch, NOW, admin=admin)
    return SINKS.check("webhook", {"url": "https://a.example/"}, fields).credentials


@pytest.mark.parametrize("admin", [True, False])
@pytest.mark.parametrize("yes", [True, "true", "True", "1", 1])
def test_a_rotated_secret_is_new_and_the_old_one_signs_for_another_day(
    yes: object, admin: bool
) -> None:
    old = {"secret": new_secret()}
    rotated = merged(old, {"rotate_secret": yes}, admin=admin)
    assert rotated["secret"] != old["secret"]
    assert key_of(rotated["secret"])
    assert rotated["previous_secret"] == old["secret"]
    assert rotated["previous_secret_invalid_at"] == A_DAY_LATER.replace("+00:00", "Z")


def test_a_second_rotation_begins_an_overlap_of_its_own() -> None:
    old = {
        "secret": new_secret(),
        "previous_secret": new_secret(),
        "previous_secret_invalid_at": "2020-01-01T00:00:00Z",
    }
    rotated = merged(old, {"rotate_secret": "true"})
    assert rotated["previous_secret"] == old["secret"]
    assert rotated["previous_secret_invalid_at"] == A_DAY_LATER.replace("+00:00", "Z")


def test_an_administrator_says_when_the_overlap_ends() -> None:
    patch = {"rotate_secret": True, "previous_secret_invalid_at": "2023-11-14T23:00:00Z"}
    rotated = merged({"secret": new_secret()}, patch)
    assert rotated["previous_secret_invalid_at"] == "2023-11-14T23:00:00Z"


@pytest.mark.parametrize("no", [False, "false", "0", "", None])
def test_without_being_asked_nothing_rotates(no: object) -> None:
    old = {"secret": new_secret()}
    assert merged(old, {"rotate_secret": no}) == old


def test_rotate_secret_is_yes_or_no() -> None:
    with pytest.raises(InvalidValue, match=r"credentials\.rotate_secret"):
        merged({"secret": new_secret()}, {"rotate_secret": "soon"})


def test_rotating_to_a_secret_of_ones_own_is_a_contradiction() -> None:
    with pytest.raises(InvalidValue, match=r"credentials\.rotate_secret"):
        merged({"secret": new_secret()}, {"rotate_secret": True, "secret": new_secret()})


def test_an_administrator_may_set_both_secrets_and_the_overlap_still_ends() -> None:
    patch = {"secret": new_secret(), "previous_secret": new_secret()}
    stored = merged({"secret": new_secret()}, patch)
    assert stored == {
        **patch,
        "previous_secret_invalid_at": A_DAY_LATER.replace("+00:00", "Z"),
    }


@pytest.mark.parametrize("name", ["secret", "previous_secret", "previous_secret_invalid_at"])
@pytest.mark.parametrize("value", ["whsec_mine", None])
def test_a_tenant_sets_no_secret(name: str, value: str | None) -> None:
    old = {
        "secret": new_secret(),
        "previous_secret": new_secret(),
        "previous_secret_invalid_at": "2030-01-01T00:00:00Z",
    }
    with pytest.raises(Forbidden, match=rf"^credentials\.{name} is forbidden") as caught:
        merged(old, {name: value}, admin=False)
    assert "whsec" not in str(caught.value)


def test_a_tenant_sets_no_secret_of_a_new_destination_either() -> None:
    with pytest.raises(Forbidden):
        merged({}, {"secret": new_secret()}, admin=False)
    assert key_of(merged({}, {}, admin=False)["secret"])


def test_what_a_tenant_sends_back_as_it_was_is_no_change() -> None:
    old = {"secret": new_secret()}
    assert merged(old, dict(old), admin=False) == old


def test_other_sinks_credentials_are_merged_field_by_field() -> None:
    old = {"username": "u", "password": "p"}
    patch = {"password": "q", "username": None}
    assert SINKS.merge_credentials("kafka", old, patch, NOW, admin=False) == {"password": "q"}
