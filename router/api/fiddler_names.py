"""`org:project:model` and `org:project`, as they stand in the paths of Fiddler's API. Pure."""

from collections.abc import Sequence

from event_router.router.batch.uploads import Binding
from event_router.schemas.columns import checked_name
from event_router.schemas.decode import ANY_TOPIC
from event_router.schemas.errors import InvalidValue
from event_router.schemas.ids import checked_text

_MOST_ORG_BYTES = 256


def binding_of(path: str, topics: Sequence[str]) -> Binding:
    """Of `org:project:model`; the project is the tenant, the model is the topic, one of `topics`
    unless there are none. Raises InvalidValue."""
    parts = path.rsplit(":", 2)
    if len(parts) != 3:
        raise InvalidValue("path", path, "organisation:project:model")
    org, project, model = parts
    return _checked(org, project, model, topics)


def binding_with(path: str, model: str, topics: Sequence[str]) -> Binding:
    """Of `org:project`, and the model beside it. Raises InvalidValue."""
    parts = path.rsplit(":", 1)
    if len(parts) != 2:
        raise InvalidValue("path", path, "organisation:project")
    org, project = parts
    return _checked(org, project, model, topics)


def _checked(org: str, project: str, model: str, topics: Sequence[str]) -> Binding:
    checked_text("organisation", org, _MOST_ORG_BYTES)
    checked_name("project", project)
    checked_name("model", model)
    if topics and model not in topics and ANY_TOPIC not in topics:
        raise InvalidValue("model", model, f"one of {', '.join(topics)}")
    return Binding(org, project, model)
