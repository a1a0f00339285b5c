"""AWS' services, as moto's server has them, with its users and their rights enforced."""

import base64
import http.client
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, ClassVar
from urllib.parse import urlsplit

import botocore.session

from event_router.consumers.ports import BatchSink
from event_router.consumers.testing import (
    SinkCase,
    Trouble,
    a_delivery,
    refusing_port,
    silent_port,
)
from event_router.router.child import free_port
from event_router.schemas.errors import Answer, Unavailable
from tests import services
from tests.receivers import receiver

REGION = "us-east-1"
_EVERYTHING = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}
_UNCHECKED = 1 << 30
_KEEPING_CONNECTIONS = """
import sys
from cheroot.wsgi import Server
from moto.server import DomainDispatcherApplication, create_backend_app
moto = DomainDispatcherApplication(create_backend_app)

def app(environ, start_response):
    environ["RAW_URI"] = environ["REQUEST_URI"]  # under werkzeug's name; signatures are of it
    return moto(environ, start_response)

server = Server((sys.argv[1], int(sys.argv[2])), app, numthreads=1, timeout=120)
server.keep_alive_conn_limit = 100
server.start()
"""
"""moto's own server closes each connection, which AWS' don't, and trips over requests at once."""


class Aws:
    """`credentials` are of a user who may do everything."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._ask("/moto-api/reset-auth", str(_UNCHECKED))
        user = self.client("iam", {"key": "a", "secret": "b"})
        user.create_user(UserName="everyman")
        user.put_user_policy(
            UserName="everyman", PolicyName="all", PolicyDocument=json.dumps(_EVERYTHING)
        )
        made = user.create_access_key(UserName="everyman")["AccessKey"]
        self.credentials = {"key": made["AccessKeyId"], "secret": made["SecretAccessKey"]}
        self._ask("/moto-api/reset-auth", "0")

    def client(self, service: str, credentials: Mapping[str, str] | None = None) -> Any:
        """A blocking client of a service, for tests."""
        return client_of(service, self.url, credentials or self.credentials)

    def _ask(self, path: str, body: str) -> None:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc)
        connection.request("POST", path, body)
        assert connection.getresponse().status == 200
        connection.close()


def client_of(service: str, url: str, credentials: Mapping[str, str]) -> Any:
    """A blocking client, for tests."""
    return botocore.session.Session().create_client(
        service,
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id=credentials["key"],
        aws_secret_access_key=credentials["secret"],
    )


@contextmanager
def started() -> Iterator[Aws]:
    """moto's server as a process."""
    port = free_port()
    process = services.Process(
        services.unique("moto-"),
        [sys.executable, "-c", _KEEPING_CONNECTIONS, services.HOST, str(port)],
        ready=lambda _: services.answers(port),
        env={"PYTHONWARNINGS": "ignore"},
    )
    process.start()
    try:
        yield Aws(f"http://{services.HOST}:{port}")
    finally:
        process.kill()


WRONG = {"key": "AKIAWRONGWRONGWRONG", "secret": "a-wrong-secret"}


@asynccontextmanager
async def troubles_at(
    config: Mapping[str, Any], endpoint: str, slower: bytes
) -> AsyncIterator[dict[str, Trouble]]:
    """Those that all services have; `slower` is the body of an answer that throttles."""
    answer = b"HTTP/1.1 400 X\r\ncontent-length: %d\r\n\r\n%b" % (len(slower), slower)
    async with AsyncExitStack() as stack:
        silent = await stack.enter_async_context(silent_port())
        refusing = stack.enter_context(refusing_port())
        throttling = await stack.enter_async_context(receiver(answer))
        yield {
            "wrong_credentials": Trouble({**config, "endpoint": endpoint}, WRONG),
            "refused_connection": Trouble({**config, "endpoint": f"http://127.0.0.1:{refusing}"}),
            "time_out": Trouble({**config, "endpoint": f"http://127.0.0.1:{silent}"}, seconds=0.5),
            "throttling": Trouble({**config, "endpoint": throttling.url.rstrip("/")}),
        }


class PartlyTaken:
    """To be inherited beside BatchContract. `partly` is what the service answers that takes the
    first and the last of three, and not the other just now."""

    partly: ClassVar[bytes]

    async def test_each_of_a_batch_gets_what_the_service_says_of_it(
        self, case: SinkCase, open_sink: Callable[..., BatchSink]
    ) -> None:
        answer = b"HTTP/1.1 200 X\r\ncontent-length: %d\r\n\r\n%b" % (len(self.partly), self.partly)
        async with receiver(answer) as server:
            sink = open_sink({**case.config, "endpoint": server.url.rstrip("/")})
            results = await sink.deliver_many([a_delivery(f"evt_{n}") for n in range(3)])
            await sink.aclose()
        assert [type(result) for result in results] == [Answer, Unavailable, Answer]
        assert [result.code for result in results] == ["OK", "throttled", "OK"]


def unwrapped(envelope: bytes) -> tuple[bytes, dict[str, str]]:
    """The payload, byte for byte, and the metadata of `{"metadata": …, "data": …}`."""
    text = envelope.decode()
    metadata, end = json.JSONDecoder().raw_decode(text, len('{"metadata":'))
    name, _, value = text[end + 1 : -1].partition(":")
    if name == '"data"':
        return value.encode(), metadata
    return base64.b64decode(value), metadata
