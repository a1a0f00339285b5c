"""A sink of one's own: to a telegraph office, over TCP.

A message is a line of JSON and as many bytes as it says; the office answers with one word.
"""

import asyncio
import json

from pydantic import Field

from event_router.consumers.sinks.fields import Fields, Secret, Server, Shown, Text
from event_router.consumers.sinks.hosts import host_and_port, vetted_address
from event_router.consumers.sinks.metadata import merged_metadata
from event_router.consumers.sinks.trouble import Troubles
from event_router.schemas.errors import Answer

CODES = {
    "stranger": "authentication_failed",
    "nowhere": "target_not_found",
    "later": "throttled",
}


class TelegraphConfig(Fields):
    server: Server = Field(title="Office", description="host:port")
    line: Text = Field(title="Line")


class TelegraphCredentials(Fields):
    token: Secret = Field(title="Token", repr=False)


class Telegraph:
    label = "Telegraph"
    description = "Send events by wire"
    Config = TelegraphConfig
    Credentials = TelegraphCredentials

    def __init__(self, destination, config, credentials, resources):
        self.config, self.credentials, self.resources = config, credentials, resources
        self.metadata = destination.delivery_metadata
        self.troubles = Troubles(credentials)
        self.connection = None
        self.one_at_a_time = asyncio.Lock()

    @staticmethod
    def shown(config):
        return Shown(f"{config.server} / {config.line}")

    async def deliver(self, delivery):
        async with self.troubles.attempt(self.resources.timeout), self.one_at_a_time:
            try:
                answer = await self.sent(delivery)
            except BaseException:
                await self.aclose()  # who knows how much of it went out
                raise
        if answer == "long":
            raise self.troubles.too_large("the office takes no more than 1 MB")
        if answer != "stop":
            raise self.troubles.unavailable(CODES.get(answer, "request_refused"), answer)
        return Answer("OK")

    async def aclose(self):
        if self.connection:
            self.connection[1].close()
            self.connection = None

    async def sent(self, delivery):
        if self.connection is None:
            host, port = host_and_port(self.config.server)
            address = await vetted_address(self.resources.resolver, host)
            self.connection = await asyncio.open_connection(address, port)
        reader, writer = self.connection
        head = {
            "line": self.config.line,
            "token": self.credentials.token,
            "metadata": merged_metadata(self.metadata, delivery.head),
            "bytes": len(delivery.data),
        }
        writer.write(json.dumps(head).encode() + b"\n" + delivery.data)
        await writer.drain()
        if answer := await reader.readline():
            return answer.decode().strip()
        raise ConnectionResetError("the office hung up")
