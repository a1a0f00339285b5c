"""The task that learns where partitions are doesn't end."""

import asyncio

import pytest
from aiokafka import errors
from aiokafka.cluster import ClusterMetadata
from aiokafka.protocol.metadata import MetadataResponse_v1

from event_router.consumers.kafka import metadata
from event_router.consumers.kafka.metadata import Absent, keep_learning
from tests.waiting import until


class Client:
    """As far as its task goes: it fails at first, and then runs on."""

    def __init__(self) -> None:
        self.begun = 0
        self._md_update_fut: asyncio.Future[bool] | None = None
        self._conns: dict[object, object] = {}

    async def _metadata_update(self, _cluster: object, _topics: object) -> bool:
        """Only the broker that the configuration names answers."""
        return bool(self._conns)

    async def _md_synchronizer(self) -> None:
        self.begun += 1
        if self.begun == 1:
            self._md_update_fut = asyncio.get_running_loop().create_future()
            self._md_update_fut.set_result(True)
            raise AssertionError("an answer that makes no sense")
        await asyncio.Event().wait()


async def nobody() -> None:
    """No broker answers."""


async def test_when_no_known_broker_answers_a_configured_one_is_asked() -> None:
    client = Client()
    there: list[object] = []

    async def connect() -> object:
        return there[0] if there else None

    keep_learning(client, connect)
    assert not await client._metadata_update(None, None)
    there.append(object())
    assert await client._metadata_update(None, None)
    assert list(client._conns.values()) == there


async def test_it_is_begun_again_after_a_mistake_which_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(metadata, "PAUSE", 0.001)
    client = Client()
    keep_learning(client, nobody)
    learning = asyncio.create_task(client._md_synchronizer())
    await until(lambda: client.begun == 2)
    assert client._md_update_fut is None
    assert "makes no sense" in caplog.text
    learning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await learning


UNKNOWN = errors.UnknownTopicOrPartitionError.errno
NO_LEADER = errors.LeaderNotAvailableError.errno


def test_a_topic_is_absent_for_as_long_as_every_answer_says_so() -> None:
    cluster, now = ClusterMetadata(), [0.0]
    absent = Absent(cluster, lambda: now[0])

    def seconds_after(at: float, code: int, topic: str = "t") -> float | None:
        now[0] = at
        answer = MetadataResponse_v1([(1, "host", 9092, None)], 1, [(code, topic, False, [])])
        cluster.update_metadata(answer)
        return absent.seconds("t")

    assert absent.seconds("t") is None
    assert seconds_after(1.0, UNKNOWN) == 0.0
    assert seconds_after(2.5, UNKNOWN) == 1.5
    assert seconds_after(2.6, UNKNOWN, "another") == 1.5
    assert seconds_after(3.0, NO_LEADER) is None
    assert seconds_after(4.0, UNKNOWN) == 0.0
    assert seconds_after(5.0, errors.NoError.errno) is None
    assert cluster.partitions_for_topic("t") == set()
