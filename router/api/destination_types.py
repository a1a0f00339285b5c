"""The types of destinations, as forms: made from the models that check what is entered."""

from typing import Any, Literal

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from starlette.responses import Response

from event_router.consumers.sinks.fields import KEY_VALUE_MAP, DestinationType
from event_router.consumers.sinks.kinds import SinkTypes
from event_router.router.api.answers import documented, json_response, text_of
from event_router.router.api.errors import not_found
from event_router.router.api.queries import TextPath
from event_router.router.api.services import Services

Kind = Literal["text", "checkbox", "key_value_map", "select"]


class Option(msgspec.Struct):
    """One of the values that a field may have."""

    label: str
    value: str


class FieldAnswer(msgspec.Struct, omit_defaults=True):
    """A field of a form. `pattern` is a regular expression for the whole value."""

    key: str
    type: Kind
    required: bool
    label: str
    sensitive: bool
    description: str = ""
    default: str | None = None
    minlength: int | None = None
    maxlength: int | None = None
    pattern: str | None = None
    options: list[Option] | None = None


class TypeAnswer(msgspec.Struct):
    """A type of destination. Deliveries to one whose sink isn't `installed` fail with
    `sink_not_installed`."""

    type: str
    label: str
    description: str
    icon: str
    instructions: str
    installed: bool
    config_fields: list[FieldAnswer]
    credential_fields: list[FieldAnswer]


def type_answer(name: str, sinks: SinkTypes) -> TypeAnswer:
    """Raises InvalidValue for a type that isn't known."""
    described: type[DestinationType] = sinks.described(name)
    return TypeAnswer(
        type=name,
        label=described.label,
        description=described.description,
        icon="",
        instructions="",
        installed=sinks.is_installed(name),
        config_fields=form_fields(described.Config),
        credential_fields=form_fields(described.Credentials),
    )


def form_fields(model: type[BaseModel]) -> list[FieldAnswer]:
    """The model's fields, in their order."""
    schemas = model.model_json_schema()["properties"] if model.model_fields else {}
    return [
        _form_field(name, field, _value_schema(schemas[name]))
        for name, field in model.model_fields.items()
    ]


def _value_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Of an optional field, that of its value; with what is said of the field itself."""
    within = [part for part in schema.get("anyOf", ()) if part.get("type") != "null"]
    return {**within[0], **schema} if within else schema


def _form_field(name: str, field: FieldInfo, schema: dict[str, Any]) -> FieldAnswer:
    default = schema.get("default")
    options = schema.get("enum")
    return FieldAnswer(
        key=name,
        type=_kind(schema),
        required=field.is_required(),
        label=field.title or name.replace("_", " ").capitalize(),
        sensitive=not field.repr,
        description=field.description or "",
        default=None if default is None else text_of(default),
        minlength=schema.get("minLength"),
        maxlength=schema.get("maxLength"),
        pattern=schema.get("pattern"),
        options=[Option(value, value) for value in options] if options else None,
    )


def _kind(schema: dict[str, Any]) -> Kind:
    if schema.get("type") == "boolean":
        return "checkbox"
    if schema.get("format") == KEY_VALUE_MAP["format"]:
        return "key_value_map"
    return "select" if "enum" in schema else "text"


def destination_type_routes(services: Services) -> APIRouter:
    routes = APIRouter(prefix="/destination-types", tags=["destination types"])
    sinks = services.sinks

    @routes.get("", responses=documented(200, list[TypeAnswer]))
    async def search() -> Response:
        """All types, those without an installed sink too."""
        return json_response([type_answer(name, sinks) for name in sinks.names])

    @routes.get("/{type_name}", responses=documented(200, TypeAnswer, 404))
    async def get(type_name: TextPath) -> Response:
        if type_name not in sinks.names:
            raise not_found("destination type")
        return json_response(type_answer(type_name, sinks))

    return routes
