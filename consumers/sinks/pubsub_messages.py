"""What is said to Google Cloud Pub/Sub to publish: the messages of `google/pubsub/v1/pubsub.proto`
that it takes, as protobuf's own classes, without Google's client and all that comes with it."""

from functools import cache
from typing import Any, NamedTuple

PUBLISH = "/google.pubsub.v1.Publisher/Publish"

_TEXT, _MESSAGE, _BYTES = 9, 11, 12
_ONE, _MANY = 1, 3
_PACKAGE = "google.pubsub.v1"


class Messages(NamedTuple):
    """The classes."""

    request: Any
    response: Any


@cache
def messages() -> Messages:
    """In a pool of their own: the same names may be those of Google's client elsewhere."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(
        name="google/pubsub/v1/pubsub.proto", package=_PACKAGE, syntax="proto3"
    )
    message = file.message_type.add(name="PubsubMessage")
    entry = message.nested_type.add(name="AttributesEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=_TEXT, label=_ONE)
    entry.field.add(name="value", number=2, type=_TEXT, label=_ONE)
    message.field.add(name="data", number=1, type=_BYTES, label=_ONE)
    message.field.add(
        name="attributes",
        number=2,
        type=_MESSAGE,
        label=_MANY,
        type_name=f".{_PACKAGE}.PubsubMessage.AttributesEntry",
    )
    request = file.message_type.add(name="PublishRequest")
    request.field.add(name="topic", number=1, type=_TEXT, label=_ONE)
    request.field.add(
        name="messages",
        number=2,
        type=_MESSAGE,
        label=_MANY,
        type_name=f".{_PACKAGE}.PubsubMessage",
    )
    response = file.message_type.add(name="PublishResponse")
    response.field.add(name="message_ids", number=1, type=_TEXT, label=_MANY)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    classes = message_factory.GetMessageClass
    return Messages(
        *(
            classes(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
            for name in ("PublishRequest", "PublishResponse")
        )
    )
