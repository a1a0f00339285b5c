"""Where operator events go: the settings say so, and nobody else."""

import hashlib
import hmac

import pytest

from event_router.consumers.ports import TenantView
from event_router.router.adapters import open_sinks
from event_router.router.decisions.alerts import ALERTS
from event_router.router.hops.operator_events import (
    OPERATOR,
    WithOperator,
    alert_policy,
    operator_destination,
)
from event_router.router.settings import Settings, SettingsError, read_settings
from tests.loop import StaticDirectory, destination
from tests.receivers import receiver
from tests.sinks import a_delivery


def settings_with(**changes: str) -> Settings:
    environ = {
        "ROUTER_OPERATOR_EVENTS_URL": "https://ops.example/alerts",
        "ROUTER_OPERATOR_EVENTS_SECRET": "hunter2",
        "ROUTER_ALLOW_NETWORKS": "127.0.0.0/8",
        **changes,
    }
    return read_settings(environ)


async def test_operator_events_are_signed_over_their_body_whatever_webhooks_look_like() -> None:
    async with receiver() as server:
        settings = settings_with(
            ROUTER_OPERATOR_EVENTS_URL=server.url, ROUTER_WEBHOOK_MODE="standard"
        )
        where = operator_destination(settings)
        assert where is not None
        sinks = open_sinks(settings)
        async with sinks.lend(where) as sink:
            await sink.deliver(a_delivery(data=b'{"id": "x"}'))
        await sinks.aclose()
        (request,) = server.requests
    expected = hmac.new(b"hunter2", b'{"id": "x"}', hashlib.sha256).hexdigest()
    assert request.header("x-outpost-signature") == f"v0={expected}"


async def test_the_operators_destination_is_the_settings_and_not_the_registrys() -> None:
    where = operator_destination(settings_with())
    registry = StaticDirectory()
    registry.put(destination("forged", tenant=OPERATOR), destination("one"))
    views = await WithOperator(registry, where).views({OPERATOR, "acme"})
    assert where is not None
    assert views[OPERATOR] == TenantView(OPERATOR, {where.id: where})
    assert list(views["acme"].destinations) == ["one"]
    views = await WithOperator(registry, None).views({OPERATOR})
    assert views[OPERATOR].destinations == {}


def test_by_default_operators_are_told_of_alerts() -> None:
    policy = alert_policy(settings_with())
    assert policy.topics == set(ALERTS)
    assert (policy.alert_after, policy.disable_after, policy.window) == (100, 0, 3600.0)


def test_without_a_url_nobody_wants_operator_events_and_disabling_works() -> None:
    settings = read_settings({"ROUTER_AUTO_DISABLE_AFTER": "20"})
    assert operator_destination(settings) is None
    assert alert_policy(settings).topics == frozenset()
    assert alert_policy(settings).disable_after == 20


def test_all_topics_or_some_can_be_wanted() -> None:
    everything = settings_with(ROUTER_OPERATOR_EVENTS_TOPICS="*")
    where = operator_destination(everything)
    assert where is not None
    assert where.topics == ("*",)
    assert alert_policy(everything).wants("attempt.success")
    some = settings_with(ROUTER_OPERATOR_EVENTS_TOPICS="attempt.failed, alert.destination.disabled")
    assert alert_policy(some).wants("attempt.failed")
    assert not alert_policy(some).wants("attempt.success")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"ROUTER_OPERATOR_EVENTS_SECRET": ""}, "ROUTER_OPERATOR_EVENTS_SECRET"),
        ({"ROUTER_OPERATOR_EVENTS_URL": "ops.example"}, "ROUTER_OPERATOR_EVENTS_URL"),
        ({"ROUTER_OPERATOR_EVENTS_TOPICS": "alert.*"}, "ROUTER_OPERATOR_EVENTS_TOPICS"),
        ({"ROUTER_AUTO_DISABLE_AFTER": "-1"}, "ROUTER_AUTO_DISABLE_AFTER"),
    ],
)
def test_settings_that_cannot_be_are_named(changes: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named) as caught:
        settings_with(**changes)
    assert "hunter2" not in str(caught.value)
