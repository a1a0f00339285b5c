"""Fields of a newer release in a head of ours: read past, and written back where they were.

Nearly every head has none, so looking for them costs nothing until one turns up.
"""

from typing import Any, get_args, get_type_hints

import msgspec

MORE = "more"


def read_with_newer_fields(raw: bytes, head: Any) -> Any:
    """`raw` as a `head`, a Struct or a union of them told apart by their tags, what it doesn't
    know in `more`. Raises what msgspec raises."""
    plain = msgspec.json.decode(raw)
    for struct in get_args(head) or (head,):
        tag = msgspec.inspect.type_info(struct)
        assert isinstance(tag, msgspec.inspect.StructType)  # noqa: S101  heads are
        if isinstance(plain, dict) and (
            tag.tag_field is None or plain.get(tag.tag_field) == tag.tag
        ):
            _set_aside(plain, struct, {tag.tag_field})
    return msgspec.convert(plain, head)


def with_newer_fields(head: msgspec.Struct) -> dict[str, Any]:
    """As it is written: each part's `more` among its other fields."""
    return _merged(msgspec.to_builtins(head))


def has_newer_fields(head: Any) -> bool:
    """Whether `with_newer_fields` is needed to write it."""
    if head.more is not msgspec.UNSET:
        return True
    within = getattr(head, "delivery", None)
    return within is not None and within.more is not msgspec.UNSET


def _set_aside(plain: dict[str, Any], struct: Any, tags: set[str | None]) -> None:
    hints = get_type_hints(struct)
    unknown = plain.keys() - set(struct.__struct_encode_fields__) - tags
    if unknown:
        plain[MORE] = {name: plain.pop(name) for name in sorted(unknown)}
    for name in plain.keys() & hints.keys():
        for part in (hints[name], *get_args(hints[name])):
            if hasattr(part, MORE) and isinstance(plain[name], dict):
                _set_aside(plain[name], part, set())


def _merged(plain: dict[str, Any]) -> dict[str, Any]:
    more = plain.pop(MORE, {})
    if isinstance(plain.get("delivery"), dict):
        plain["delivery"] = _merged(plain["delivery"])
    return {**more, **plain}
