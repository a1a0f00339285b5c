"""A peer that speaks AMQP 1.0 as Azure Service Bus does: a token of a shared access key for `$cbs`
first, then messages and batches of them for queues. On Qpid Proton, in a process of its own.

    python tests/servicebus.py PLAIN SECURE HTTP CERTIFICATE KEY

The shared access key is in the environment: SERVICE_BUS_KEY_NAME, SERVICE_BUS_KEY.

HTTP makes a queue (PUT) and shows what it has (GET). Queues named after a trouble are in it.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from proton import Condition, Data, Delivery, Endpoint, Message
from proton.handlers import MessagingHandler
from proton.reactor import Container

KEY_NAME = os.environ.get("SERVICE_BUS_KEY_NAME", "")
KEY = os.environ.get("SERVICE_BUS_KEY", "")
LARGEST = 256 * 1024
DATA = 0x75
"""The code of a section of data."""

TROUBLES = {
    "throttled": ("com.microsoft:server-busy", "The request was terminated: too many requests."),
    "full": ("amqp:resource-limit-exceeded", "The queue has reached its largest size."),
    "disabled": ("com.microsoft:entity-disabled", "The entity is disabled."),
}
QUEUES: dict[str, list[dict[str, Any]]] = {name: [] for name in (*TROUBLES, "forbidden")}


def wrong(token: str) -> str:
    """What is wrong with a shared access signature."""
    parts = {name: one[0] for name, one in parse_qs(token.partition(" ")[2]).items()}
    signed = token.partition("sr=")[2].partition("&")[0] + "\n" + parts.get("se", "")
    expected = base64.b64encode(hmac.digest(KEY.encode(), signed.encode(), hashlib.sha256))
    if parts.get("skn") != KEY_NAME or parts.get("sig") != expected.decode():
        return "InvalidSignature: The token has an invalid signature."
    return "" if float(parts["se"]) > time.time() else "ExpiredToken: The token is expired."


class Broker(MessagingHandler):  # type: ignore[misc]  # untyped
    def __init__(self, plain: str, secure: str, certificate: str, key: str) -> None:
        super().__init__(prefetch=0, auto_accept=False)
        self.plain, self.secure, self.keys = plain, secure, (certificate, key)
        self.trusted: set[Any] = set()
        self.answers: dict[Any, Any] = {}

    def on_start(self, event: Any) -> None:
        event.container.ssl.server.set_credentials(*self.keys, None)
        event.container.listen(f"amqp://{self.plain}")
        event.container.listen(f"amqps://{self.secure}")

    def on_connection_closed(self, event: Any) -> None:
        self.trusted.discard(event.connection)
        self.answers.pop(event.connection, None)

    on_disconnected = on_connection_closed

    def on_link_opening(self, event: Any) -> None:
        link = event.link
        link.source.copy(link.remote_source)
        if not self.refusal(event):
            link.target.copy(link.remote_target)
        link.max_message_size = LARGEST

    def on_link_opened(self, event: Any) -> None:
        link = event.link
        if link.is_sender:
            self.answers[event.connection] = link
        elif why := self.refusal(event):
            refuse(link, *why)
        else:
            link.flow(100)

    def refusal(self, event: Any) -> tuple[str, str] | None:
        name = entity(event.link)
        if event.link.is_sender or name == "$cbs":
            return None
        if event.connection not in self.trusted or name == "forbidden":
            return "amqp:unauthorized-access", "Unauthorized access. 'Send' is required."
        if name not in QUEUES:
            return "amqp:not-found", f"The messaging entity '{name}' could not be found."
        return None

    def on_delivery(self, event: Any) -> None:
        link, delivery = event.link, event.delivery
        if not link.is_receiver or not delivery.readable or delivery.partial:
            return
        if link.state & Endpoint.LOCAL_CLOSED:
            return  # of a client that hasn't heard of it yet
        raw = link.recv(delivery.pending)
        link.advance()
        name = entity(link)
        if len(raw) > LARGEST:
            refuse(link, "amqp:link:message-size-exceeded", f"{len(raw)} bytes are too many.")
            return
        if name == "$cbs":
            self.authorize(event, decoded(raw))
        elif name in TROUBLES:
            # The library expects three fields, where AMQP may leave out the last.
            delivery.local.condition = Condition(*TROUBLES[name], {"tracking-id": "1"})
            delivery.update(Delivery.REJECTED)
        else:
            QUEUES[name].extend(shown(message) for message in messages(raw))
            delivery.update(Delivery.ACCEPTED)
        delivery.settle()
        link.flow(1)

    def authorize(self, event: Any, request: Message) -> None:
        why = wrong(str(request.body))
        if not why:
            self.trusted.add(event.connection)
        event.delivery.update(Delivery.ACCEPTED)
        status = {"status-code": 401 if why else 202, "status-description": why or "Accepted"}
        answer = Message(correlation_id=request.id, properties=status)
        self.answers[event.connection].send(answer)


def entity(link: Any) -> str:
    return urlsplit(link.remote_target.address or "").path.strip("/")


def refuse(link: Any, name: str, description: str) -> None:
    link.condition = Condition(name, description)
    link.close()


def decoded(raw: bytes) -> Message:
    message = Message()
    message.decode(raw)
    return message


def messages(raw: bytes) -> list[Message]:
    """Of a transfer: in a batch each section of data is a message."""
    inner = [value for code, value in sections(raw) if code == DATA]
    return [decoded(bytes(one)) for one in inner] if len(inner) > 1 else [decoded(raw)]


def sections(raw: bytes) -> Iterator[tuple[int, Any]]:
    while raw:
        data = Data()
        length = data.decode(raw)
        data.rewind()
        data.next()
        section = data.get_py_described()
        value = section.value  # in the memory of `data`
        yield int(section.descriptor), bytes(value) if isinstance(value, memoryview) else value
        raw = raw[length:]


def shown(message: Message) -> dict[str, Any]:
    return {
        "data": base64.b64encode(bytes(message.body or b"")).decode(),
        "id": message.id,
        "subject": message.subject,
        "content_type": message.content_type,
        "properties": message.properties,
    }


class Window(BaseHTTPRequestHandler):
    def do_PUT(self) -> None:
        QUEUES.setdefault(self.path.strip("/"), [])
        self.do_GET()

    def do_GET(self) -> None:
        body = json.dumps(QUEUES[self.path.strip("/")]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def main() -> None:
    plain, secure, http, certificate, key = sys.argv[1:]
    host, _, port = http.partition(":")
    window = ThreadingHTTPServer((host, int(port)), Window)
    threading.Thread(target=window.serve_forever, name="window", daemon=True).start()
    Container(Broker(plain, secure, certificate, key)).run()


if __name__ == "__main__":
    main()
