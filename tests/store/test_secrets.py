import base64
from pathlib import Path

import pytest

from event_router.router.store.migrate import migrate
from event_router.router.store.ports import DestinationFields
from event_router.router.store.registry import SqlRegistry
from event_router.router.store.secrets import Secrets
from event_router.schemas.delivery import DestinationKey
from event_router.schemas.errors import InvalidValue, Unavailable
from tests.store.tokens import Tokens

OLD = "old:" + base64.b64encode(b"o" * 32).decode()
NEW = "new:" + base64.b64encode(b"n" * 32).decode()
OWNER = DestinationKey("acme", "orders")
SECRET = {"secret": "whsec_ä", "more": [1, {"a": None}]}


def test_what_was_sealed_opens() -> None:
    assert Secrets([OLD]).open(OWNER, Secrets([OLD]).seal(OWNER, SECRET)) == SECRET


def test_sealing_twice_gives_two_texts_without_the_secret() -> None:
    secrets = Secrets([OLD])
    one, two = secrets.seal(OWNER, SECRET), secrets.seal(OWNER, SECRET)
    assert one != two
    assert "whsec" not in one
    assert b"whsec" not in base64.b64decode(one.partition(":")[2])


def test_after_a_rotation_the_new_key_seals_and_the_old_one_still_opens() -> None:
    sealed = Secrets([OLD]).seal(OWNER, SECRET)
    rotated = Secrets([NEW, OLD])
    assert rotated.open(OWNER, sealed) == SECRET
    assert rotated.seal(OWNER, SECRET).startswith("new:")


def test_a_key_that_is_gone_is_named() -> None:
    with pytest.raises(Unavailable, match=r"'old' isn't in ROUTER_SECRETS_KEYS"):
        Secrets([NEW]).open(OWNER, Secrets([OLD]).seal(OWNER, SECRET))


@pytest.mark.parametrize("owner", [OWNER._replace(tenant="x"), OWNER._replace(destination="x")])
def test_a_secret_that_was_moved_to_another_destination_does_not_open(
    owner: DestinationKey,
) -> None:
    with pytest.raises(Unavailable, match="don't open"):
        Secrets([OLD]).open(owner, Secrets([OLD]).seal(OWNER, SECRET))


@pytest.mark.parametrize("text", ["old:", "old:AAAA", "old:!!!", "old:" + "A" * 400])
def test_what_was_damaged_does_not_open(text: str) -> None:
    with pytest.raises(Unavailable, match="don't open"):
        Secrets([OLD]).open(OWNER, text)


@pytest.mark.parametrize("key", ["", "name", "name:", ":AAAA", "name:AAAA", "name:not base64"])
def test_a_key_that_is_none_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(InvalidValue, match="ROUTER_SECRETS_KEYS") as refused:
        Secrets([key])
    assert "AAAA" not in str(refused.value)


def test_no_key_at_all_is_refused() -> None:
    with pytest.raises(InvalidValue, match="ROUTER_SECRETS_KEYS"):
        Secrets([])


def test_two_keys_of_one_name_are_refused() -> None:
    """What one of them sealed, the other can't open."""
    with pytest.raises(InvalidValue, match="without a name twice") as refused:
        Secrets([OLD, "old:" + base64.b64encode(b"x" * 32).decode()])
    assert "b29v" not in str(refused.value)


def _all_bytes(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


async def test_credentials_and_static_headers_are_nowhere_in_the_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/registry.sqlite"
    migrate(url, "registry")
    registry = SqlRegistry(url, Secrets([OLD]), Tokens())
    await registry.upsert_tenant("acme", None)
    fields = DestinationFields(
        type="webhook",
        topics=("*",),
        config={"url": "https://example.com/services/open-sesame"},
        credentials={"secret": "whsec_hidden"},
        delivery_metadata={"authorization": "Bearer sesame"},
    )
    await registry.create(OWNER, fields)
    await registry.aclose()
    stored = _all_bytes(tmp_path)
    assert b"webhook" in stored
    assert b"whsec_hidden" not in stored
    assert b"sesame" not in stored
