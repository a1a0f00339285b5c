"""A router that answers as ours does, in memory: it keeps the bytes that it is sent."""

import gzip
import inspect
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from event_router.client import AsyncClient, Client, Retries

KEY = "the-key"
URL = "http://router"
EAGER = Retries(first=0.0)

Answer = httpx.Response | httpx.TransportError


@dataclass
class FakeRouter:
    """`troubles` are answered first, one for each request. `parts` are by upload and number."""

    troubles: list[Answer] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    parts: dict[str, dict[int, bytes]] = field(default_factory=lambda: defaultdict(dict))
    ingests: list[dict[str, Any]] = field(default_factory=list)
    jobs: list[dict[str, Any]] = field(default_factory=list)
    schemas: dict[str, bytes] = field(default_factory=dict)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.troubles:
            trouble = self.troubles.pop(0)
            if isinstance(trouble, httpx.Response):
                return trouble
            raise trouble
        assert request.headers["authorization"] == f"Bearer {KEY}"
        return self._answer(request)

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(request.content) for request in self.requests]

    def rows(self) -> list[dict[str, Any]]:
        """Those of the only file, which is JSON Lines, compressed."""
        (content,) = self.files.values()
        return [json.loads(line) for line in gzip.decompress(content).splitlines()]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if "/schemas/" in path:
            return self._schema(request, path)
        if path.startswith("/api/v1/jobs/"):
            return httpx.Response(200, json=self.jobs.pop(0))
        verbs: dict[str, Callable[[httpx.Request], httpx.Response]] = {
            "publish": self._publish,
            "event": self._event,
            "upload": self._upload,
            "initialize": self._initialize,
            "complete": self._complete,
            "ingest": self._ingest,
        }
        return verbs[path.rpartition("/")[2]](request)

    def _publish(self, request: httpx.Request) -> httpx.Response:
        answer = {"id": json.loads(request.content)["id"], "duplicate": False}
        return httpx.Response(202, json={**answer, "destination_ids": ["d1"]})

    def _event(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        data: dict[str, Any] = {"__fiddler_id": body["update_id"] or body["event_id"]}
        if body["dry_run"]:
            data["report"] = [{"type": "warning", "field": "x", "desc": "unknown"}]
        return _enveloped(data)

    def _upload(self, request: httpx.Request) -> httpx.Response:
        asked = request.url.params
        assert asked["resource_identifier"] == "orders"
        assert asked["upload_type"] == "event"
        if asked["multipart_upload"] == "False":
            self.files[f"abcde_{asked['file_name']}"] = request.content
            return _enveloped({"file_name": f"abcde_{asked['file_name']}"})
        number = int(asked["part_number"])
        self.parts[asked["upload_id"]][number] = request.content
        return _enveloped({"info": {"ETag": f"e{number}", "PartNumber": number}})

    def _initialize(self, request: httpx.Request) -> httpx.Response:
        name = json.loads(request.content)["file_name"]
        return _enveloped({"upload_id": "u1", "file_name": f"abcde_{name}"})

    def _complete(self, request: httpx.Request) -> httpx.Response:
        parts = self.parts[request.url.params["upload_id"]]
        expected = [{"ETag": f"e{n}", "PartNumber": n} for n in range(1, len(parts) + 1)]
        assert json.loads(request.content) == {"parts": expected}
        name = request.url.params["file_name"]
        self.files[name] = b"".join(parts[number] for number in sorted(parts))
        return _enveloped({"file_name": name})

    def _ingest(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        self.ingests.append(body)
        data = {"status": 202, "job_uuid": "j1", "files": body["file_name"], "message": "received"}
        return _enveloped(data)

    def _schema(self, request: httpx.Request, path: str) -> httpx.Response:
        if request.method == "PUT":
            self.schemas[path] = request.content
        elif path not in self.schemas:
            return httpx.Response(404, json={"status": 404, "message": "schema not found"})
        elif request.method == "DELETE":
            del self.schemas[path]
            return httpx.Response(200, json={"success": True})
        kept = json.loads(self.schemas[path])
        return httpx.Response(200, json={"tenant_id": "acme", "topic": "orders", **kept})


def _enveloped(data: dict[str, Any]) -> httpx.Response:
    return httpx.Response(202, json={"data": data, "api_version": "2.0", "kind": "NORMAL"})


def blocking(router: FakeRouter, retries: Retries = EAGER) -> Client:
    http = httpx.Client(transport=httpx.MockTransport(router))
    return Client(URL, KEY, retries=retries, http=http)


def awaitable(router: FakeRouter, retries: Retries = EAGER) -> AsyncClient:
    http = httpx.AsyncClient(transport=httpx.MockTransport(router))
    return AsyncClient(URL, KEY, retries=retries, http=http)


async def done(called: Any) -> Any:
    """What a call of either client came to."""
    return await called if inspect.isawaitable(called) else called
