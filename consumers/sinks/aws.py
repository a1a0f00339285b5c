"""What the sinks of Amazon Web Services share: credentials, endpoints, calls, and what their errors
mean. The library is aiobotocore; its names are looked up by our resolver."""

import asyncio
import functools
import re
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Annotated, Any

from pydantic import Field

from event_router.consumers.addresses import Resolver
from event_router.consumers.sinks.fields import Fields, Needs, Secret
from event_router.consumers.sinks.hosts import vet_url
from event_router.consumers.sinks.kinds import SinkResources
from event_router.consumers.sinks.trouble import Troubles
from event_router.schemas.errors import Answer, EventRouterError, Rejected, TooLarge, Unavailable

NEEDS = Needs("aws", ("aiobotocore",))
MOST_CONNECTIONS = 10

Region = Annotated[
    str,
    Field(
        title="AWS region",
        description="The region it lies in, such as eu-central-1.",
        pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]+$",
    ),
]
ENDPOINT: Any = Field(
    None, title="Endpoint", description="URL of another endpoint than that of the region."
)

_CODES = {
    "authentication_failed": "InvalidClientTokenId UnrecognizedClientException AuthFailure"
    " SignatureDoesNotMatch InvalidSignatureException IncompleteSignature InvalidAccessKeyId"
    " ExpiredToken ExpiredTokenException MissingAuthenticationToken InvalidSecurity",
    "permission_denied": "AccessDenied AccessDeniedException AuthorizationError"
    " AuthorizationErrorException KMSAccessDeniedException KMSAccessDenied KmsAccessDenied",
    "target_not_found": "QueueDoesNotExist AWS.SimpleQueueService.NonExistentQueue NotFound"
    " NoSuchBucket ResourceNotFoundException NotFoundException InvalidAddress",
    "throttled": "Throttling Throttled ThrottlingException ThrottledException RequestThrottled"
    " ProvisionedThroughputExceededException TooManyRequestsException RequestLimitExceeded"
    " OverLimit LimitExceededException SlowDown KMSThrottlingException KMSThrottling KmsThrottled",
    "service_unavailable": "ServiceUnavailable InternalFailure InternalError"
    " InternalServiceException InternalException InternalFailureException RequestTimeout",
}
_BY_WORD = {word: code for code, words in _CODES.items() for word in words.split()}
_TOO_LARGE = {
    "MessageTooLong",
    "BatchRequestTooLong",
    "EntityTooLarge",
    "RequestEntityTooLarge",
    "MetadataTooLarge",
}

_WITHIN = re.compile(r"<Code>(\w+)</Code>")

# What a text may hold in SQS and SNS: the characters of XML 1.0.
_XML = re.compile("[\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+")


class AwsCredentials(Fields):
    """Of an IAM user, or for a session."""

    key: Secret = Field(title="Access key ID", repr=False)
    secret: Secret = Field(title="Secret access key", repr=False)
    session: Secret | None = Field(
        None, title="Session token", description="With temporary credentials.", repr=False
    )


def text_of(payload: bytes) -> str | None:
    """The payload as a text that SQS and SNS carry; None when it is none."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return None
    return text if _XML.fullmatch(text) else None


def not_a_text() -> Rejected:
    why = "the service takes text that isn't empty"
    return Rejected("payload_refused", why, answer=Answer("payload_refused", body=why.encode()))


class AwsService:
    """One destination's client, opened by the first call."""

    def __init__(
        self,
        service: str,
        region: str,
        endpoint: str | None,
        credentials: AwsCredentials,
        resources: SinkResources,
    ) -> None:
        self.troubles = Troubles(credentials)
        self._service = service
        self._region = region
        self._endpoint = endpoint
        self._credentials = credentials
        self._resources = resources
        self._stack = AsyncExitStack()
        self._client: Any = None
        self._opening = asyncio.Lock()

    async def call(self, operation: str, **parameters: Any) -> Any:
        """What the operation, in the library's spelling, answers. Raises Unavailable, TooLarge."""
        from botocore.exceptions import BotoCoreError, ClientError

        async with self.attempt():
            try:
                client = await self._opened()
                return await getattr(client, operation)(**parameters)
            except ClientError as error:
                status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
                raise self.trouble(_word(error.response["Error"]), error, status) from error
            except BotoCoreError as error:
                raise self._unreached(error) from error

    def attempt(self) -> AbstractAsyncContextManager[None]:
        """What is done within has the time of one attempt."""
        return self.troubles.attempt(self._resources.timeout)

    def trouble(self, word: str, detail: object, status: int = 400) -> Unavailable | TooLarge:
        """What AWS' own word for an error says, in our words."""
        if word in _TOO_LARGE:
            return self.troubles.too_large(detail)
        other = "service_unavailable" if status >= 500 else "request_refused"
        return self.troubles.unavailable(_BY_WORD.get(word, other), detail)

    async def aclose(self) -> None:
        self._client = None
        await self._stack.aclose()

    async def _opened(self) -> Any:
        from botocore.handlers import add_expect_header

        async with self._opening:
            if self._client is None:
                if self._endpoint is not None:
                    await vet_url(self._resources.resolver, self._endpoint)
                client = await self._stack.enter_async_context(self._made())
                # Asking first whether a body is welcome costs more than sending it.
                client.meta.events.unregister("before-call.s3", add_expect_header)
                self._client = client
            return self._client

    def _made(self) -> Any:
        from aiobotocore.config import AioConfig

        seconds = self._resources.timeout
        return _session().create_client(
            self._service,
            region_name=self._region,
            endpoint_url=self._endpoint,
            aws_access_key_id=self._credentials.key,
            aws_secret_access_key=self._credentials.secret,
            aws_session_token=self._credentials.session,
            config=AioConfig(
                connect_timeout=seconds,
                read_timeout=seconds,
                retries={"total_max_attempts": 1},
                max_pool_connections=MOST_CONNECTIONS,
                connector_args={"resolver": _vetting(self._resources.resolver)},
                # For services that are spoken to at an address of this machine, in tests mostly.
                s3={"addressing_style": "path" if self._endpoint else "auto"},
            ),
        )

    def _unreached(self, error: Exception) -> EventRouterError:
        from botocore import exceptions

        for cause in _causes(error):
            if isinstance(cause, Unavailable):
                return cause
            if isinstance(cause, OSError):
                return self.troubles.of_network(cause)
        codes = {
            exceptions.ConnectTimeoutError: "timeout",
            exceptions.ReadTimeoutError: "timeout",
            exceptions.ConnectionClosedError: "connection_reset",
            exceptions.ParamValidationError: "request_refused",
        }
        found = (code for kind, code in codes.items() if isinstance(error, kind))
        return self.troubles.unavailable(next(found, "network_error"), error)


def _word(error: Mapping[str, str]) -> str:
    """AWS' own; some that speak JSON answer a refusal in XML, which the library doesn't read."""
    word, said = error.get("Code", ""), error.get("Message", "")
    within = _WITHIN.search(said) if word.isdigit() else None
    return within[1] if within else word


@functools.cache
def _session() -> Any:
    """One for all: it keeps the descriptions of services, which take long to read."""
    from aiobotocore.session import get_session

    return get_session()


def _causes(error: BaseException | None) -> "list[BaseException]":
    found: list[BaseException] = []
    while error is not None:
        found.append(error)
        told = getattr(error, "kwargs", {}).values()
        found += [value for value in told if isinstance(value, BaseException)]
        error = error.__cause__ or error.__context__
    return found


def _vetting(resolver: Resolver) -> Any:
    """The library's resolver: ours, so that it connects to what was vetted."""
    from aiohttp.abc import AbstractResolver, ResolveResult

    class Vetting(AbstractResolver):
        async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
            del family  # all that were vetted
            return [
                ResolveResult(
                    hostname=host,
                    host=str(address),
                    port=port,
                    family=10 if address.version == 6 else 2,
                    proto=0,
                    flags=0,
                )
                for address in await resolver.addresses(host)
            ]

        async def close(self) -> None:
            """Ours is everybody's."""

    return Vetting()
