"""What `fiddler-client` calls: version 2 of Fiddler's API, as far as it publishes.

A project is a tenant, a model is a topic. An app of its own: its paths, bodies and errors look
different from ours.
"""

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from event_router.router.api.auth import Callers
from event_router.router.api.bodies import BodyReader
from event_router.router.api.errors import Refusal
from event_router.router.api.fiddler_answers import answered, answered_once, on_error, refused
from event_router.router.api.fiddler_batches import Batches, initialize_body, job_in_v2
from event_router.router.api.fiddler_events import Events
from event_router.router.api.fiddler_names import binding_of, binding_with
from event_router.router.api.services import Services
from event_router.router.batch.uploads import Binding
from event_router.schemas.errors import EventRouterError

PREFIXES = ("/v2/", "/get_supported_features/")
SERVER_VERSION = "23.4.0"
"""The oldest that clients of version 2 take: what newer ones can is not here."""

_BODY_LIMIT = 256 * 1024
_ENVELOPE = 16 * 1024

Endpoint = Callable[[Request], Awaitable[Response]]


class Fiddler:
    """An ASGI app for paths that begin with one of PREFIXES. Only the administrator may call."""

    def __init__(self, services: Services, callers: Callers) -> None:
        self._services = services
        self._callers = callers
        self._events = Events(services)
        self._batches = Batches(services)
        self._event_body = BodyReader(services.settings.max_event_bytes + _ENVELOPE)
        self._body = BodyReader(_BODY_LIMIT)
        self._app = Starlette(
            routes=self._routes(),
            exception_handlers={
                EventRouterError: on_error,
                HTTPException: _on_http,
                ClientDisconnect: _on_gone,
                Exception: _on_mistake,
            },
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    def _routes(self) -> list[Route]:
        datasets, events = "/v2/datasets/{names}", "/v2/events/{names}"
        table: list[tuple[str, str, Endpoint]] = [
            ("GET", "/v2/server-info", self._server_info),
            ("GET", "/v2/version-compatibility", self._compatible),
            ("GET", "/get_supported_features/{org}", self._features),
            ("POST", f"{events}/ingest/event", self._ingest_event),
            ("POST", f"{events}/ingest", self._ingest),
            ("PUT", f"{datasets}/upload", self._upload),
            ("GET", f"{datasets}/upload", self._parts),
            ("POST", f"{datasets}/initialize", self._initialize),
            ("POST", f"{datasets}/complete", self._complete),
            ("GET", "/v2/jobs/{job}", self._job),
        ]
        return [Route(path, self._guarded(do), methods=[method]) for method, path, do in table]

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        async def guarded(request: Request) -> Response:
            if await self._callers.caller(request.scope) is not None:
                raise Refusal(403, "only the administrator's key publishes here")
            return await endpoint(request)

        return guarded

    async def _server_info(self, _: Request) -> Response:
        return answered({"feature_flags": {}, "server_version": SERVER_VERSION})

    async def _compatible(self, _: Request) -> Response:
        return answered({})

    async def _features(self, _: Request) -> Response:
        features = {"features": {}, "server_version": SERVER_VERSION, "enable_fiddler_v2": True}
        return answered_once(features)

    async def _ingest_event(self, request: Request) -> Response:
        binding = self._binding(request)
        raw = await self._event_body.read(request.scope, request.receive)
        return answered(await self._events.accept(raw, binding), 202)

    async def _ingest(self, request: Request) -> Response:
        binding = self._binding(request)
        raw = await self._body.read(request.scope, request.receive)
        return answered(await self._batches.ingest(raw, binding), 202)

    async def _upload(self, request: Request) -> Response:
        return answered(await self._batches.upload(request, self._of_query(request)))

    async def _parts(self, request: Request) -> Response:
        return answered(await self._batches.parts(request, self._of_query(request)))

    async def _initialize(self, request: Request) -> Response:
        body = initialize_body(await self._body.read(request.scope, request.receive))
        binding = self._binding_with(request, body.resource_identifier)
        return answered(await self._batches.initialize(body, binding))

    async def _complete(self, request: Request) -> Response:
        raw = await self._body.read(request.scope, request.receive)
        return answered(await self._batches.complete(request, raw, self._of_query(request)))

    async def _job(self, request: Request) -> Response:
        uuid = request.path_params["job"]
        job = await self._services.jobs.job(uuid) if "\x00" not in uuid else None
        if job is None:
            raise Refusal(404, f"the job {uuid[:80]!r} was not found")
        return answered(job_in_v2(job))

    def _binding(self, request: Request) -> Binding:
        return binding_of(request.path_params["names"], self._services.settings.topics)

    def _of_query(self, request: Request) -> Binding:
        return self._binding_with(request, request.query_params.get("resource_identifier", ""))

    def _binding_with(self, request: Request, model: str) -> Binding:
        topics = self._services.settings.topics
        return binding_with(request.path_params["names"], model, topics)


async def _on_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  registered for no other
    return refused(Refusal(error.status_code, error.detail.lower(), headers=error.headers))


async def _on_gone(_: Request, __: Exception) -> Response:
    return refused(Refusal(400, "the client went away"))


async def _on_mistake(_: Request, __: Exception) -> Response:
    """Logged with its trace by the server, which gets it after this answer."""
    return refused(Refusal(500, "internal server error"))
