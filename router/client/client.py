"""The clients: every call of the library under its name, once blocking and once awaitable."""

from collections.abc import Callable, Coroutine
from functools import wraps
from inspect import Parameter, signature
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, get_args

import httpx

from event_router.client import batch, calls
from event_router.client.calls import Manners
from event_router.client.exchange import Call
from event_router.client.frames import schema_from
from event_router.client.retries import Retries
from event_router.client.transports import base_url, bearer, run, run_async

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

URL = "http://127.0.0.1:3333"


class _Blocking:
    def __init__(self, http: httpx.Client, manners: Manners) -> None:
        self._http = http
        self._manners = manners


class _Awaitable:
    def __init__(self, http: httpx.AsyncClient, manners: Manners) -> None:
        self._http = http
        self._manners = manners


def _blocking(call: Callable[Concatenate[Manners, P], Call[T]]) -> Callable[Concatenate[Any, P], T]:
    @wraps(call)
    def done(self: _Blocking, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return run(call(self._manners, *args, **kwargs), self._http)

    return _signed(done, call)


def _awaitable(
    call: Callable[Concatenate[Manners, P], Call[T]],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    @wraps(call)
    async def done(self: _Awaitable, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await run_async(call(self._manners, *args, **kwargs), self._http)

    return _signed(done, call)


def _signed(done: F, call: Callable[..., Call[T]]) -> F:
    """What `help()` shows: the method, not the generator behind it."""
    shown = signature(call)
    first, *others = shown.parameters.values()
    own = [first.replace(name="self", annotation=Parameter.empty), *others]
    returned = get_args(shown.return_annotation)[2]
    done.__signature__ = shown.replace(parameters=own, return_annotation=returned)  # type: ignore[attr-defined]  # functions have one when it is set
    return done


class Publish(_Blocking):
    """`client.publish`"""

    event = _blocking(calls.publish)


class Schemas(_Blocking):
    """`client.schemas`: which columns the events of a topic have."""

    put = _blocking(calls.put_schema)
    get = _blocking(calls.get_schema)
    delete = _blocking(calls.delete_schema)


class AsyncPublish(_Awaitable):
    """`client.publish`"""

    event = _awaitable(calls.publish)


class AsyncSchemas(_Awaitable):
    """`client.schemas`: which columns the events of a topic have."""

    put = _awaitable(calls.put_schema)
    get = _awaitable(calls.get_schema)
    delete = _awaitable(calls.delete_schema)


class Client(_Blocking):
    """Publishes to the router at `url`. It may be shared by threads.

    `http` is an httpx.Client for what this doesn't set: a proxy, certificates. It is closed with
    the client; its base URL and its `authorization` are set here.
    """

    def __init__(
        self,
        url: str = URL,
        api_key: str = "",
        *,
        retries: Retries = Retries(),  # noqa: B008  it is frozen
        http: httpx.Client | None = None,
    ) -> None:
        base, headers = base_url(url), bearer(api_key)
        super().__init__(http or httpx.Client(), Manners(retries))
        self._http.base_url = base
        self._http.headers.update(headers)
        self.publish = Publish(self._http, self._manners)
        self.schemas = Schemas(self._http, self._manners)

    publish_event = _blocking(calls.publish_event)
    publish_events_batch = _blocking(batch.publish_events_batch)
    job = _blocking(calls.job)
    cancel_job = _blocking(calls.cancel_job)
    wait_for = _blocking(calls.wait_for)
    schema_from = staticmethod(schema_from)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient(_Awaitable):
    """As Client, for asyncio: the same calls, awaited."""

    def __init__(
        self,
        url: str = URL,
        api_key: str = "",
        *,
        retries: Retries = Retries(),  # noqa: B008  it is frozen
        http: httpx.AsyncClient | None = None,
    ) -> None:
        base, headers = base_url(url), bearer(api_key)
        super().__init__(http or httpx.AsyncClient(), Manners(retries))
        self._http.base_url = base
        self._http.headers.update(headers)
        self.publish = AsyncPublish(self._http, self._manners)
        self.schemas = AsyncSchemas(self._http, self._manners)

    publish_event = _awaitable(calls.publish_event)
    publish_events_batch = _awaitable(batch.publish_events_batch)
    job = _awaitable(calls.job)
    cancel_job = _awaitable(calls.cancel_job)
    wait_for = _awaitable(calls.wait_for)
    schema_from = staticmethod(schema_from)

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
