"""An event that was changed later, as the API shows it."""

from tests.api.world import World
from tests.store.history import History, write


async def shown(world: World, event: str, tenant: str = "acme") -> dict[str, object]:
    answer = await world.client.get(f"events/{event}", params={"tenant_id": tenant})
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


async def test_an_event_is_shown_with_its_updates_and_what_they_make_of_it(world: World) -> None:
    history = History()
    history.event("e1", data=b'{"amount": 1, "paid": false, "note": null}')
    history.event("u1", updates="e1", data=b'{"paid": true}')
    history.event("u2", updates="e1", data=b'{"note": "late", "amount": 2}')
    history.event("u3", "other", updates="e1", data=b'{"amount": 99}')
    await write(world.log, history.records)
    event = await shown(world, "e1")
    assert event["data"] == {"amount": 1, "paid": False, "note": None}
    assert event["merged"] == {"amount": 2, "paid": True, "note": "late"}
    updates = event["updated_by"]
    assert isinstance(updates, list)
    assert [(one["id"], one["data"]) for one in updates] == [
        ("u1", {"paid": True}),
        ("u2", {"note": "late", "amount": 2}),
    ]


async def test_an_update_names_its_event_and_says_when_there_is_none(world: World) -> None:
    history = History()
    history.event("e1")
    history.event("u1", updates="e1")
    history.event("u2", updates="nothing")
    await write(world.log, history.records)
    known, unknown = await shown(world, "u1"), await shown(world, "u2")
    assert (known["updates"], known["updates_unknown"]) == ("e1", False)
    assert (unknown["updates"], unknown["updates_unknown"]) == ("nothing", True)


async def test_an_event_that_nobody_changed_has_no_word_of_updates(world: World) -> None:
    history = History()
    history.event("e1")
    await write(world.log, history.records)
    assert not {"updates", "updated_by", "merged", "updates_unknown"} & set(
        await shown(world, "e1")
    )
