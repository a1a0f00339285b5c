"""The contract of `ports.Sink` and `ports.BatchSink`, on any sink's service."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from event_router.consumers.open_sinks import OpenSinks
from event_router.consumers.ports import BatchSink, Sink
from event_router.consumers.sinks.fields import TOLD
from event_router.consumers.sinks.kinds import SinkResources, SinkTypes, load_sinks
from event_router.consumers.sinks.metadata import weight
from event_router.consumers.sinks.trouble import keys_in
from event_router.consumers.testing.cases import CODES, SinkCase, Trouble
from event_router.consumers.testing.network import CONNECTS, open_sockets
from event_router.consumers.testing.values import a_delivery, a_destination, local_resources
from event_router.schemas.destination import Destination
from event_router.schemas.errors import (
    Answer,
    EventRouterError,
    InvalidValue,
    Rejected,
    Unavailable,
)

PAYLOADS = {
    "json": b'{ "b":1,\t"a": 12345678901234567890.10, "\xc3\xbc": "\\u00fc" }\n',
    "empty": b"",
    "binary": b"\x00\xff\r\n\r\n",
    "large": b'"%s"' % (b"x" * 200_000),
}
DELIVERIES, AT_ONCE = 1000, 10
_ENTERED = ("wrong_credentials", "missing_target", "refused_connection")

Open = Callable[..., Sink]


class SinkContract:
    """To be inherited by a class of tests, one for each type of destination.

    `type` is its name. `without` are the troubles of CODES that its service can't have, each with
    the reason. `refused_payloads` are those of PAYLOADS that it can't carry, each with the code of
    the Rejected. One sink makes `fewest_connections` to `most_connections`. `tells_time` where the
    event's time is among the metadata, as `timestamp`.
    """

    type: ClassVar[str]
    without: ClassVar[Mapping[str, str]] = {}
    refused_payloads: ClassVar[Mapping[str, str]] = {}
    fewest_connections: ClassVar[int] = 1
    most_connections: ClassVar[int] = 16
    tells_time: ClassVar[bool] = True
    forbidden_code: ClassVar[str] = "forbidden_address"

    @pytest.fixture
    def case(self) -> SinkCase:
        """The service, running, with a destination on it that nobody else uses: to be replaced by
        a fixture of your own, which may be asynchronous."""
        raise NotImplementedError("a fixture `case` of your own is what these tests run on")

    def sinks(self) -> SinkTypes:
        """Where the type is found; by its entry point unless you say otherwise."""
        return load_sinks()

    def adapted(self, resources: SinkResources) -> SinkResources:
        """What the sink is opened with, if it needs more than the network."""
        return resources

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "trouble" in metafunc.fixturenames:
            metafunc.parametrize("trouble", [name for name in CODES if name not in self.without])
        if "payload" in metafunc.fixturenames:
            fit = [name for name in PAYLOADS if name not in self.refused_payloads]
            metafunc.parametrize("payload", fit)

    @pytest.fixture
    async def open_sink(self, case: SinkCase) -> AsyncIterator[Open]:
        """Opens the type's sink, by default with the case's config and credentials; further
        keywords are of the destination."""
        async with AsyncExitStack() as stack:
            ours = await stack.enter_async_context(local_resources())
            only_private = local_resources(allowed=("10.0.0.0/8",))
            others = await stack.enter_async_context(only_private)

            def open_(
                config: Mapping[str, Any] | None = None,
                credentials: Mapping[str, Any] | None = None,
                timeout: float = 20.0,
                *,
                inside: bool = False,
                **more: Any,
            ) -> Sink:
                sink = self._opened(
                    self._destination(case, config, credentials, **more),
                    others if inside else self.adapted(ours),
                    timeout,
                )
                stack.push_async_callback(sink.aclose)
                return sink

            yield open_

    def _destination(
        self,
        case: SinkCase,
        config: Mapping[str, Any] | None = None,
        credentials: Mapping[str, Any] | None = None,
        version: str = "v1",
        **more: Any,
    ) -> Destination:
        return a_destination(
            self.type,
            case.config if config is None else config,
            case.credentials if credentials is None else credentials,
            version,
            **more,
        )

    def _opened(
        self, destination: Destination, resources: SinkResources, timeout: float = 20.0
    ) -> Sink:
        return self.sinks().open(destination, _with_timeout(resources, timeout))

    # -- what arrives ---------------------------------------------------------------------------

    async def test_the_payload_arrives_byte_for_byte(
        self, case: SinkCase, open_sink: Open, payload: str
    ) -> None:
        data = PAYLOADS[payload]
        answer = await open_sink().deliver(a_delivery("evt_1", data, content_type="text/x"))
        assert answer.code
        (arrived,) = await case.arrived()
        assert arrived[:3] == (data, "evt_1", "user.created")
        assert arrived.content_type in ("text/x", None)

    async def test_what_can_not_be_carried_is_said_and_the_next_arrives(
        self, case: SinkCase, open_sink: Open
    ) -> None:
        sink = open_sink()
        for name, code in self.refused_payloads.items():
            with pytest.raises(Rejected) as caught:
                await sink.deliver(a_delivery("evt_0", PAYLOADS[name]))
            assert caught.value.code == code
        await sink.deliver(a_delivery())
        assert [arrived.event for arrived in await case.arrived()] == ["evt_1"]

    async def test_a_duplicate_carries_the_same_id(self, case: SinkCase, open_sink: Open) -> None:
        """A service that knows duplicates by their ids may keep one of them."""
        sink = open_sink()
        for _ in range(2):
            await sink.deliver(a_delivery("evt_2"))
        arrived = [one.event for one in await case.arrived()]
        assert arrived in (["evt_2"], ["evt_2", "evt_2"])

    async def test_deliveries_at_once_all_arrive(self, case: SinkCase, open_sink: Open) -> None:
        sink = open_sink()
        names = [f"evt_{number}" for number in range(50)]
        await asyncio.gather(*(sink.deliver(a_delivery(name)) for name in names))
        assert sorted(arrived.event for arrived in await case.arrived()) == sorted(names)

    async def test_metadata_arrive_and_the_events_own_win(
        self, case: SinkCase, open_sink: Open
    ) -> None:
        sink = open_sink(delivery_metadata={"both": "destination", "fixed": "1"})
        await sink.deliver(a_delivery(metadata={"both": "event", "own": "2"}))
        (arrived,) = await case.arrived()
        expected = {"both": "event", "fixed": "1", "own": "2"}
        assert expected.items() <= arrived.metadata.items()

    async def test_the_events_time_arrives(self, case: SinkCase, open_sink: Open) -> None:
        delivery = a_delivery()
        await open_sink().deliver(delivery)
        (arrived,) = await case.arrived()
        told = arrived.metadata.get("timestamp") == delivery.head.time
        assert told == self.tells_time

    async def test_metadata_override_nothing_of_the_events(
        self, case: SinkCase, open_sink: Open
    ) -> None:
        names = ("id", "event-id", "topic", "timestamp", "content-type", "Content-Type", "ID")
        evil = dict.fromkeys(names, "evil")
        sink = open_sink(delivery_metadata=evil)
        await sink.deliver(a_delivery(metadata=evil))
        (arrived,) = await case.arrived()
        assert arrived[1:3] == ("evt_1", "user.created")
        assert arrived.content_type in ("application/json", None)

    # -- troubles -------------------------------------------------------------------------------

    async def test_each_trouble_has_its_code_and_tells_no_secret(
        self,
        case: SinkCase,
        open_sink: Open,
        trouble: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        how = case.troubles[trouble]
        caplog.set_level(logging.INFO)
        error = await _caught(open_sink, how)
        rejected = how.rejected or (trouble == "too_large" and not how.code)
        assert isinstance(error, Rejected if rejected else Unavailable)
        assert error.code in ({how.code} if how.code else CODES[trouble]), str(error)
        assert error.answer.code == error.code
        assert how.retry_after in (None, getattr(error, "retry_after", None))
        told = [*_told(error), *map(_logged, caplog.records)]
        for secret in _secrets(case, how):
            assert not any(secret in text for text in told), f"{secret!r} is told"

    def test_the_troubles_that_it_can_not_have_are_reasoned(self, case: SinkCase) -> None:
        assert {*case.troubles, *self.without} == set(CODES)
        assert not case.troubles.keys() & self.without.keys()
        assert all(self.without.values())

    async def test_what_was_written_last_holds_at_the_next_attempt(self, case: SinkCase) -> None:
        """Rotated credentials, above all: those of before serve nobody, and no connection that was
        made with them."""
        how = next(case.troubles[name] for name in _ENTERED if name in case.troubles)
        async with local_resources() as ours:
            resources = self.adapted(ours)
            sinks = OpenSinks(lambda destination: self.sinks().open(destination, resources))
            for number in range(2):
                broken = self._destination(case, how.config, how.credentials, f"broken{number}")
                async with how.arranged():
                    await _fails(sinks, broken)
                async with sinks.lend(self._destination(case, version=f"v{number}")) as sink:
                    assert (await sink.deliver(a_delivery(f"evt_{number}"))).code
            await sinks.aclose()
        assert [arrived.event for arrived in await case.arrived()] == ["evt_0", "evt_1"]

    async def test_a_destination_inside_is_refused(self, case: SinkCase, open_sink: Open) -> None:
        with pytest.raises(Unavailable) as caught:
            await open_sink(inside=True).deliver(a_delivery())
        assert caught.value.code == self.forbidden_code
        assert await case.arrived() == []

    # -- connections ----------------------------------------------------------------------------

    async def test_connections_are_reused_and_closed_at_the_end(self, case: SinkCase) -> None:
        async with local_resources() as ours:
            before = open_sockets()
            sink = self._opened(self._destination(case), self.adapted(ours))
            with CONNECTS.counting():
                made = await _connections(case)
                for _ in range(DELIVERIES // AT_ONCE):
                    await asyncio.gather(*(sink.deliver(a_delivery()) for _ in range(AT_ONCE)))
                made = await _connections(case) - made
            await sink.aclose()
            assert self.fewest_connections <= made <= self.most_connections
            await _closed(before)

    async def test_a_cancelled_delivery_leaves_the_sink_in_order(
        self, case: SinkCase, open_sink: Open
    ) -> None:
        sink = open_sink()
        await sink.deliver(a_delivery("evt_1"))
        cancelled = asyncio.create_task(sink.deliver(a_delivery("evt_2")), name="cancelled")
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        assert cancelled.cancelled() or cancelled.result().code  # some libraries finish a write
        await sink.deliver(a_delivery("evt_3"))
        assert {"evt_1", "evt_3"} <= {arrived.event for arrived in await case.arrived()}

    async def test_a_sink_may_be_closed_unused_and_twice(self, open_sink: Open) -> None:
        unused = open_sink()
        await unused.aclose()
        used = open_sink()
        await used.deliver(a_delivery())
        await used.aclose()
        await used.aclose()

    # -- what people enter ----------------------------------------------------------------------

    def test_what_is_checked_stays_the_same_when_checked_again(self, case: SinkCase) -> None:
        checked = self.sinks().check(self.type, case.config, case.credentials)
        assert self.sinks().check(self.type, *checked) == checked

    def test_where_it_leads_is_shown_without_credentials(self, case: SinkCase) -> None:
        shown = self.sinks().shown(self._destination(case))
        assert shown.target
        assert not any(str(secret) in shown.target for secret in case.credentials.values())

    @pytest.mark.parametrize("part", ["config", "credentials"])
    def test_a_field_that_is_not_known_is_refused_by_name(self, case: SinkCase, part: str) -> None:
        given = {"config": dict(case.config), "credentials": dict(case.credentials)}
        given[part]["nonsense"] = "x"
        with pytest.raises(InvalidValue, match="a known field") as caught:
            self.sinks().check(self.type, **given)
        assert caught.value.field == f"{part}.nonsense"

    def test_what_is_required_is_missed_by_name(self, case: SinkCase) -> None:
        kind = self.sinks().described(self.type)
        given = {"config": dict(case.config), "credentials": dict(case.credentials)}
        for part, model in (("config", kind.Config), ("credentials", kind.Credentials)):
            for name in [name for name, one in model.model_fields.items() if one.is_required()]:
                without = {key: value for key, value in given[part].items() if key != name}
                with pytest.raises(InvalidValue, match="required") as caught:
                    self.sinks().check(self.type, **{**given, part: without})
                assert caught.value.field == f"{part}.{name}"

    async def test_a_stored_config_that_is_invalid_is_rejected(self, open_sink: Open) -> None:
        with pytest.raises(Rejected) as caught:
            open_sink({"nonsense": "x"})
        assert caught.value.code == "invalid_config"

    def test_it_has_the_tests_of_batches_if_it_takes_batches(self) -> None:
        batched = hasattr(self.sinks().get(self.type), "deliver_many")
        assert batched == isinstance(self, BatchContract)


class BatchContract(SinkContract):
    """For a sink that takes several deliveries in one call."""

    async def test_a_batch_arrives_whole(self, case: SinkCase, open_sink: Open) -> None:
        sink = _batch_sink(open_sink())
        names = [f"evt_{number}" for number in range(min(sink.batch.count, 200))]
        results = await sink.deliver_many([a_delivery(name) for name in names])
        assert len(results) == len(names)
        assert all(isinstance(result, Answer) for result in results)
        assert sorted(arrived.event for arrived in await case.arrived()) == sorted(names)

    @pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # aiohttp's
    async def test_a_full_batch_arrives_though_it_takes_more_than_it_weighs(
        self, case: SinkCase, open_sink: Open
    ) -> None:
        """With metadata of the destination, and payloads that JSON can't hold as they are."""
        sink = _batch_sink(open_sink(delivery_metadata={"fixed": "x" * 1000}))
        count = min(sink.batch.count, 8)
        room = sink.batch.bytes // count - weight(a_delivery("evt_0", b""))
        batch = [a_delivery(f"evt_{n}", b'"' * room) for n in range(count)]
        results = await sink.deliver_many(batch)
        assert [result for result in results if not isinstance(result, Answer)] == []
        arrived = {one.event: one.data for one in await case.arrived()}
        assert arrived == {one.head.event: one.data for one in batch}

    async def test_one_that_is_refused_spoils_no_other(
        self, case: SinkCase, open_sink: Open
    ) -> None:
        sink = _batch_sink(open_sink())
        too_large = case.troubles.get("too_large", Trouble()).delivery
        spoilt = [too_large] if too_large else []
        batch = [a_delivery("evt_1"), *spoilt, a_delivery("evt_2")]
        results = await sink.deliver_many(batch)
        refused = [isinstance(result, Rejected) for result in results]
        assert refused == [False, *(True for _ in spoilt), False]
        assert sorted(one.event for one in await case.arrived()) == ["evt_1", "evt_2"]

    async def test_a_trouble_of_all_is_told_to_each(self, case: SinkCase, open_sink: Open) -> None:
        name = next(name for name in reversed(_ENTERED) if name in case.troubles)
        how = case.troubles[name]
        sinks = OpenSinks(lambda _: open_sink(how.config, how.credentials, how.seconds))
        async with how.arranged(), sinks.lend(self._destination(case)) as sink:
            errors = await asyncio.gather(
                *(sink.deliver(a_delivery()) for _ in range(3)), return_exceptions=True
            )
        codes = {getattr(error, "code", repr(error)) for error in errors}
        assert codes <= ({how.code} if how.code else CODES[name])

    async def test_what_comes_together_goes_in_batches_within_the_limits(
        self, case: SinkCase, open_sink: Open
    ) -> None:
        seen: list[tuple[int, int]] = []
        inner = _batch_sink(open_sink())
        deliver_many = inner.deliver_many

        async def noted(deliveries: Any) -> Any:
            seen.append((len(deliveries), sum(map(weight, deliveries))))
            return await deliver_many(deliveries)

        inner.deliver_many = noted  # type: ignore[method-assign]  # to see what it is given
        sinks = OpenSinks(lambda _: inner)
        count = min(2 * inner.batch.count + 1, 101)
        async with sinks.lend(self._destination(case)) as sink:
            await asyncio.gather(*(sink.deliver(a_delivery(f"evt_{n}")) for n in range(count)))
        assert sum(size for size, _ in seen) == count == len(await case.arrived())
        assert len(seen) == -(-count // inner.batch.count)
        assert all(
            size <= inner.batch.count and bytes_ <= inner.batch.bytes for size, bytes_ in seen
        )


def _batch_sink(sink: Sink) -> BatchSink:
    assert isinstance(sink, BatchSink)
    return sink


def _with_timeout(resources: SinkResources, timeout: float) -> SinkResources:
    return replace(resources, timeout=timeout)


async def _caught(open_sink: Open, how: Trouble) -> Unavailable | Rejected:
    sink = open_sink(how.config, how.credentials, how.seconds)
    async with how.arranged():
        with pytest.raises(EventRouterError) as caught:
            await sink.deliver(how.delivery or a_delivery())
    assert isinstance(caught.value, Unavailable | Rejected)
    return caught.value


async def _fails(sinks: OpenSinks, destination: Destination) -> None:
    with pytest.raises(Unavailable):
        async with sinks.lend(destination) as sink:
            await sink.deliver(a_delivery("evt_lost"))


def _logged(record: logging.LogRecord) -> str:
    return f"{record.getMessage()} {vars(record)}"


def _told(error: BaseException | None) -> Iterator[str]:
    """All that an error says, with those that it came from."""
    while error is not None:
        yield from (str(error), repr(error))
        if isinstance(error, EventRouterError):
            yield from map(str, vars(error).values())
        error = error.__cause__ or error.__context__


def _secrets(case: SinkCase, how: Trouble) -> list[str]:
    given = [*case.credentials.items(), *(how.credentials or {}).items()]
    secrets = [str(value) for name, value in given if name not in TOLD and len(str(value)) > 3]
    return [*secrets, *(key for secret in secrets for key in keys_in(secret))]


async def _connections(case: SinkCase) -> int:
    return await case.connections() if case.connections else CONNECTS.count


async def _closed(before: set[tuple[int, int]]) -> None:
    """Servers close their side of a connection a moment later."""
    for _ in range(100):
        if open_sockets() <= before:
            return
        await asyncio.sleep(0.02)
    assert open_sockets() <= before, "connections are left open"
