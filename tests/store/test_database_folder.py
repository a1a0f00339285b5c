"""Where the files of SQLite lie."""

from pathlib import Path

import pytest

from event_router.router.store.database import make_engine
from event_router.schemas.errors import InvalidValue


def test_a_folder_that_cant_be_made_is_an_error_that_says_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidValue, match=r"(File exists|Not a directory).*ROUTER_DATA_DIR"):
        make_engine(f"sqlite:///{tmp_path}/file/log.sqlite")
