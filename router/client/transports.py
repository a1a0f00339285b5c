"""Carrying a call out over HTTP: one way that blocks, one that doesn't. Only here is httpx."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, TypeVar

import httpx

from event_router.client.errors import BadArgument, NoAnswer
from event_router.client.exchange import Answer, Call, Effect, Pause, Request

T = TypeVar("T")

_SUFFIX = "/api/v1"


def run(call: Call[T], http: httpx.Client) -> T:
    """Carries the call out in this thread."""
    with closing(call):
        try:
            effect = next(call)
            while True:
                try:
                    done = _take(effect, http)
                except Exception as error:  # noqa: BLE001  the call decides what to do about it
                    effect = call.throw(error)
                else:
                    effect = call.send(done)
        except StopIteration as end:
            result: T = end.value
            return result


async def run_async(call: Call[T], http: httpx.AsyncClient) -> T:
    """Carries the call out on the loop; work that takes its time gets a thread."""
    with closing(call):
        try:
            effect = next(call)
            while True:
                try:
                    done = await _take_async(effect, http)
                except Exception as error:  # noqa: BLE001  the call decides what to do about it
                    effect = call.throw(error)
                else:
                    effect = call.send(done)
        except StopIteration as end:
            result: T = end.value
            return result


def _take(effect: Effect, http: httpx.Client) -> Any:
    if isinstance(effect, Request):
        with _ours(http):
            return _answer(http.send(_built(http, effect)))
    return time.sleep(effect.seconds) if isinstance(effect, Pause) else effect.do()


async def _take_async(effect: Effect, http: httpx.AsyncClient) -> Any:
    if isinstance(effect, Request):
        with _ours(http):
            return _answer(await http.send(_built(http, effect)))
    if isinstance(effect, Pause):
        return await asyncio.sleep(effect.seconds)
    return await _in_a_thread(effect.do)


async def _in_a_thread(do: Callable[[], Any]) -> Any:
    """Also when it is cancelled it ends with the work, which holds what would then be closed."""
    working = asyncio.get_running_loop().run_in_executor(None, do)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        raise


def base_url(url: object) -> httpx.URL:
    """Where the router is, with or without `/api/v1`, as Outpost's clients have it; raises
    BadArgument."""
    try:
        read = httpx.URL(str(url).rstrip("/").removesuffix(_SUFFIX))
        if read.scheme in ("http", "https") and read.host:
            return read
    except httpx.InvalidURL:
        pass
    raise BadArgument("url", url, "the router's URL, such as http://127.0.0.1:3333")


def bearer(api_key: object) -> dict[str, str]:
    """The header that opens the API; raises BadArgument, without the key, for one that can't."""
    if not isinstance(api_key, str) or not api_key:
        raise BadArgument("api_key", api_key, "the router's ROUTER_API_KEY")
    if not api_key.isascii() or not api_key.isprintable():
        raise BadArgument("api_key", "***", "a key: printable ASCII")
    return {"authorization": f"Bearer {api_key}"}


def _built(http: httpx.Client | httpx.AsyncClient, request: Request) -> httpx.Request:
    return http.build_request(
        request.method,
        request.path,
        params=dict(request.params) or None,
        content=request.body,
        headers={"content-type": request.content_type},
        timeout=request.seconds,
    )


def _answer(response: httpx.Response) -> Answer:
    # A response and its stream refer to each other, and to the request: until the collector came
    # by, every part of an upload would stay in memory.
    response.stream = httpx.ByteStream(b"")
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, response.content, headers)


def _place(url: httpx.URL) -> str:
    """Without the user and the password that a URL may have."""
    return f"{url.scheme}://{url.netloc.decode()}"


@contextmanager
def _ours(http: httpx.Client | httpx.AsyncClient) -> Iterator[None]:
    """Foreign errors become ours."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise NoAnswer("timeout", str(error) or type(error).__name__) from error
    except httpx.RequestError as error:
        why = str(error) or type(error).__name__
        raise NoAnswer("unreachable", f"{_place(http.base_url)}: {why}") from error
