"""What sinks say when a delivery fails: one code for one kind of trouble, whatever the service.

| code | is raised as | what happened |
|---|---|---|
| `connection_refused`, `connection_reset`, `network_unreachable`, `network_error` | Unavailable | no connection, or it broke |
| `dns_error`, `forbidden_address`, `tls_error` | Unavailable | the host's name, where it leads, its certificate |
| `tls_unknown_authority`, `tls_name_mismatch`, `tls_certificate_expired`, `tls_client_certificate` | Unavailable | instead of `tls_error` over HTTP: what is wrong with the server's certificate, or that it refuses ours |
| `timeout` | Unavailable | no answer within the time of one attempt |
| `authentication_failed` | Unavailable | the service doesn't know these credentials |
| `permission_denied` | Unavailable | it knows them, and they may not do this |
| `target_not_found` | Unavailable | there is no such queue, topic, stream, table … |
| `throttled` | Unavailable | too much, too fast, or no room; with `retry_after` where it says so |
| `service_unavailable` | Unavailable | the service says that it can't just now |
| `request_refused` | Unavailable | it refuses the delivery for another reason, in the detail |
| `message_too_large` | Rejected (TooLarge) | the payload is larger than the service takes |
| `payload_refused` | Rejected | the service can't carry these bytes |
| `sink_not_installed`, `invalid_config` | Rejected | before anything is sent |

Wrong credentials and missing targets are tried again: people mend them.
"""  # noqa: E501  a table

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import BaseModel

from event_router.consumers.network_codes import network_code
from event_router.consumers.sinks.fields import TOLD
from event_router.schemas.errors import Answer, TooLarge, Unavailable

LONGEST_DETAIL = 1000
SHORTEST_KEY = 20


class Troubles:
    """One destination's: no secret of its credentials gets into what is said of them."""

    def __init__(self, credentials: BaseModel) -> None:
        fields = type(credentials).model_fields
        hidden = [name for name in fields if not fields[name].repr and name not in TOLD]
        values = [str(value) for name in hidden if (value := getattr(credentials, name))]
        secrets = {value for value in values if len(value) > 2}.union(*map(keys_in, values))
        self._secrets = sorted(secrets, key=len, reverse=True)

    def unavailable(
        self, code: str, detail: object = "", *, retry_after: float | None = None
    ) -> Unavailable:
        """To raise. People see the detail where a webhook's answer would stand."""
        text = self.told(detail)
        answer = Answer(code, body=text.encode(errors="replace"))
        return Unavailable(code, text, retry_after=retry_after, answer=answer)

    def too_large(self, detail: object) -> TooLarge:
        refusal = TooLarge(self.told(detail))
        refusal.answer = Answer(refusal.code, body=refusal.detail.encode(errors="replace"))
        return refusal

    def told(self, detail: object) -> str:
        """`detail` as a text without secrets, and not too long."""
        text = str(detail)
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text[:LONGEST_DETAIL]

    def of_network(self, error: OSError) -> Unavailable:
        return self.unavailable(network_code(error), error)

    @asynccontextmanager
    async def attempt(self, seconds: float) -> AsyncIterator[None]:
        """What is done within ends after `seconds`, and raises no OSError of the network."""
        deadline = asyncio.timeout(seconds)
        try:
            async with deadline:
                yield
        except TimeoutError as error:
            if deadline.expired():
                raise self.unavailable("timeout", f"no answer within {seconds:g} s") from error
            raise self.of_network(error) from error
        except OSError as error:
            raise self.of_network(error) from error


# The parts of a connection string, `Name=value;…`, and the texts of a JSON object.
_PARTS = re.compile(r'(?<==)[^;]+|(?<=")(?:[^"\\]|\\.)+(?=")')


def keys_in(secret: str) -> set[str]:
    """What is long enough for a key among the parts of a secret that has some, as it stands there
    and line by line: a library may show one without the rest."""
    found = {part.replace("\\n", "\n") for part in _PARTS.findall(secret)}
    lines = {line for part in found for line in part.splitlines()}
    return {text for text in found | lines if len(text) >= SHORTEST_KEY and " " not in text}
