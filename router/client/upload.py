"""Uploading a source: in one request when it is small, in parts when it isn't.

The paths and bodies are those of Fiddler's API, version 2, which its client speaks, too.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from event_router.client.bodies import Enveloped
from event_router.client.calls import ORGANISATION, Manners, read
from event_router.client.exchange import Call, Request, Work
from event_router.client.progress import Progress
from event_router.client.retries import retried
from event_router.client.sources import Source, empty
from event_router.client.values import encode

SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload for a model of a project. Each request may be retried: a part that is sent twice
    replaces itself."""

    manners: Manners
    project: str
    model: str
    source: Source
    progress: Progress

    def __call__(self) -> Call[str]:
        """Returns the name that the router keeps the file under."""
        parts = self.source.parts()
        take = Work(partial(next, parts, None))
        ahead: list[bytes | None] = [(yield take), (yield take)]
        if ahead[0] is None:
            raise empty()
        if ahead[1] is None:
            return (yield from self._whole(ahead[0]))
        return (yield from self._in_parts(ahead, take))

    def _whole(self, body: bytes) -> Call[str]:
        params = {"upload_type": "event", "multipart_upload": "False", **self._names()}
        data = yield from self._asked("PUT", "upload", body, params)
        self.progress.uploaded(self.source)
        return str(data["file_name"])

    def _in_parts(self, ahead: list[bytes | None], take: Work) -> Call[str]:
        names = self._names()
        about = {"upload_type": "event", "num_cols": None, "num_rows": None, **names}
        begun = yield from self._asked("POST", "initialize", encode(about), {})
        names["file_name"] = str(begun["file_name"])
        names["upload_id"] = str(begun["upload_id"])
        infos: list[dict[str, Any]] = []
        while ahead:
            part = ahead.pop(0)
            if part is not None:
                infos.append((yield from self._part(part, len(infos) + 1, names)))
                part = None  # or it would be kept while the next one is made
                ahead.append((yield take))
        body = encode({"parts": infos})
        done = yield from self._asked("POST", "complete", body, {"upload_type": "event", **names})
        return str(done["file_name"])

    def _part(self, body: bytes, number: int, names: dict[str, str]) -> Call[dict[str, Any]]:
        params = {
            "upload_type": "event",
            "multipart_upload": "True",
            "part_number": str(number),
            **names,
        }
        data = yield from self._asked("PUT", "upload", body, params)
        self.progress.uploaded(self.source)
        info: dict[str, Any] = data["info"]
        return info

    def _names(self) -> dict[str, str]:
        return {"resource_identifier": self.model, "file_name": self.source.name}

    def _asked(
        self, method: str, verb: str, body: bytes, params: dict[str, str]
    ) -> Call[dict[str, Any]]:
        raw = method == "PUT"
        request = Request(
            method,
            f"/v2/datasets/{ORGANISATION}:{self.project}/{verb}",
            body,
            params,
            "application/octet-stream" if raw else "application/json",
            SECONDS,
        )
        return read((yield from retried(request, self.manners.retries)), Enveloped).data
