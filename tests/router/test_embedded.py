"""The services that `router up` starts by itself."""

import asyncio
import signal
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio

from event_router.router.child import CannotStart, Child, end_stale
from event_router.router.embedded.data_dir import LONGEST_SOCKET_PATH, DataDir
from event_router.router.embedded.tansu import Tansu
from event_router.router.embedded.valkey import Valkey
from tests.services import make_topics
from tests.waiting import until


@pytest.fixture
def data_dir(tmp_path: Path) -> DataDir:
    return DataDir(tmp_path / "data")


@pytest.fixture
async def valkey(data_dir: DataDir) -> AsyncIterator[Valkey]:
    server = Valkey(data_dir)
    yield server
    await server.stop(0)


def _exists(pid: int) -> bool:
    """It runs: a zombie has no command line."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except FileNotFoundError:
        return False


async def _kill(child: Child) -> None:
    child.signal(signal.SIGKILL)
    await child.wait()


async def test_valkey_keeps_what_it_answered_through_a_sigkill(valkey: Valkey) -> None:
    await valkey.start()
    async with redis.asyncio.from_url(valkey.url) as client:
        await client.set("kept", "yes")
    await _kill(valkey.child)
    assert not await valkey.healthy()
    await valkey.start()
    async with redis.asyncio.from_url(valkey.url) as client:
        assert await client.get("kept") == b"yes"


async def test_valkey_listens_where_only_we_can_enter(valkey: Valkey) -> None:
    await valkey.start()
    assert stat.S_IMODE(valkey.socket.parent.stat().st_mode) == 0o700
    async with redis.asyncio.from_url(valkey.url) as client:
        assert (await client.config_get("port"))["port"] == "0"


async def test_a_long_data_directory_still_gets_a_socket(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path / ("long" * 30))
    server = Valkey(data_dir)
    assert len(str(server.socket)) <= LONGEST_SOCKET_PATH
    await server.start()
    assert await server.healthy()
    await server.stop(5)
    server.socket.parent.rmdir()


def test_a_socket_directory_that_others_can_enter_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    data_dir = DataDir(tmp_path / ("long" * 30))
    data_dir.socket("valkey").parent.chmod(0o755)
    with pytest.raises(CannotStart, match="only we can enter"):
        data_dir.socket("valkey")


async def test_a_server_that_cannot_start_says_why(data_dir: DataDir) -> None:
    (data_dir.path / "valkey" / "appendonlydir").mkdir(parents=True)
    (data_dir.path / "valkey" / "appendonlydir" / "appendonly.aof.manifest").write_text("broken")
    with pytest.raises(CannotStart, match=r"valkey doesn't start: (.|\n)*manifest"):
        await Valkey(data_dir).start()


async def test_tansu_forgets_and_comes_back_on_the_same_port(data_dir: DataDir) -> None:
    broker = Tansu(data_dir)
    await broker.start()
    address = broker.bootstrap
    await make_topics(address, {"events": 4})
    await _kill(broker.child)
    await broker.start()
    assert broker.bootstrap == address
    await make_topics(address, {"events": 4})
    await broker.stop()
    assert not await broker.healthy()


async def test_services_die_with_a_killed_router(data_dir: DataDir) -> None:
    script = (
        "import asyncio, sys, time; from pathlib import Path\n"
        "from event_router.router.embedded.data_dir import DataDir\n"
        "from event_router.router.embedded.valkey import Valkey\n"
        "async def main():\n"
        "    server = Valkey(DataDir(Path(sys.argv[1]))); await server.start()\n"
        "    print('up', flush=True); await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    router = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(data_dir.path), stdout=subprocess.PIPE
    )
    assert router.stdout is not None
    await router.stdout.readline()
    router.kill()
    await router.wait()
    server = Valkey(data_dir)
    deadline = time.monotonic() + 20
    while await server.healthy() and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    assert not await server.healthy()


async def test_a_process_left_by_an_earlier_run_is_ended(tmp_path: Path) -> None:
    argv = ["sleep", "61"]
    left = await asyncio.create_subprocess_exec(*argv)
    pid_file = tmp_path / "sleep.pid"
    pid_file.write_text(str(left.pid))
    await end_stale(pid_file, argv)
    assert await left.wait() == -signal.SIGTERM


async def test_a_process_that_only_has_the_id_of_ours_is_left_alone(tmp_path: Path) -> None:
    stranger = await asyncio.create_subprocess_exec("sleep", "62")
    pid_file = tmp_path / "sleep.pid"
    pid_file.write_text(str(stranger.pid))
    await end_stale(pid_file, ["sleep", "61"])
    assert stranger.returncode is None
    stranger.kill()
    await stranger.wait()


async def test_a_child_that_ignores_sigterm_is_killed_with_its_children(tmp_path: Path) -> None:
    script = "trap '' TERM; sleep 63 & echo $!; wait; sleep 63"
    child = Child("stubborn", ["bash", "-c", script], tmp_path / "log", tmp_path / "pid")
    await child.start()
    while not child.last_lines():
        await asyncio.sleep(0.01)
    grandchild = int(child.last_lines())
    assert not await child.stop(0.1)
    assert not child.running
    await until(lambda: not _exists(grandchild))


def test_secrets_are_made_once_and_only_we_can_read_them(data_dir: DataDir) -> None:
    made = data_dir.secrets()
    assert made == DataDir(data_dir.path).secrets()
    assert len(made.api_key) >= 32
    assert made.api_key != made.jwt_secret
    assert made.secrets_keys.startswith("k1:")
    for name in ("api_key", "jwt_secret", "secrets_keys"):
        assert stat.S_IMODE((data_dir.path / name).stat().st_mode) == 0o600


def test_a_data_directory_that_we_make_is_only_ours(data_dir: DataDir) -> None:
    assert stat.S_IMODE(data_dir.path.stat().st_mode) == 0o700


def test_two_routers_do_not_share_a_data_directory(data_dir: DataDir) -> None:
    other = DataDir(data_dir.path)
    with data_dir.locked(), pytest.raises(CannotStart, match="another `router up` runs"):
        other.locked().__enter__()
    with other.locked():
        assert (data_dir.path / "lock").exists()


def test_a_data_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotStart, match="ROUTER_DATA_DIR"):
        DataDir(tmp_path / "file")
