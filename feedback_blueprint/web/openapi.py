"""The routes as an OpenAPI document, made from the schema that checks every vote."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Sequence
from importlib.metadata import version
from operator import attrgetter
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Blueprint, Flask

from .. import errors
from ..attributes import MAX_ENTRIES, MAX_INT, MAX_VALUE_BYTES, MIN_INT, NAME, RESERVED
from ..config import Settings
from ..schemas import MessageIDField, MetadataField, RatingField, TextField, feedback_schema
from .routes import names_of
from .views import MAX_MESSAGES, delete, get, post

# `\s` of a JSON Schema does not match the last five, which Python takes for blanks.
NOT_BLANK = {"pattern": r"[^\s\x1c-\x1f\x85]"}
LABEL = {"maxLength": MAX_VALUE_BYTES, **NOT_BLANK}
IN_64_BITS = {"minimum": MIN_INT, "maximum": MAX_INT}
ENTRY_NAME = {
    "maxLength": MAX_VALUE_BYTES,
    "pattern": f"^({NAME.pattern})$",
    "not": {"pattern": f"^({RESERVED.pattern})$"},
}
ENTRY_VALUE = {"type": ["string", "number", "boolean"], "maxLength": MAX_VALUE_BYTES, **IN_64_BITS}
UNITS = "Text is limited in bytes of UTF-8. `maxLength`, in characters, is the most that can fit."

TEXT, OR_NULL = {"type": "string"}, {"type": ["string", "null"]}
TEXTS = {"type": "array", "items": TEXT}
NAMED = {"message_id": TEXT, "feedback_id": TEXT, "revision": {"type": "integer", "minimum": 1}}
BY_FIELD = {"anyOf": [TEXTS, {"type": "object", "additionalProperties": TEXTS}]}

READING = [errors.Invalid, errors.OtherRater, errors.StoreUnavailable]
VOTING = [*READING, errors.UnknownMessage, errors.AgentNotRecording]
UNREADABLE = [errors.MalformedJSON, errors.TooLarge, errors.NotJSON]
SENDING = [*VOTING, *UNREADABLE, errors.TooManyRevisions]


def document(app: Flask, blueprint: Blueprint, settings: Settings) -> dict[str, Any]:
    """Describe the blueprint's routes, at each place where `app` has them."""
    plugin = MarshmallowPlugin()
    spec = APISpec(
        "Feedback", version("feedback-blueprint"), "3.1.0", [plugin], info={"description": UNITS}
    )
    converter: Any = plugin.converter  # the spec made it, which its types do not know
    converter.add_attribute_function(limits)
    feedback = feedback_schema(settings.ratings, settings.categories)
    spec.components.schema("Feedback", schema=feedback)
    # The title is a text: Python changes its phrase for a status from version to version.
    spec.components.schema("Problem", object_of(type=TEXT, title=TEXT, detail=TEXT))
    # No operation has it: it answers all other methods.
    spec.components.response("MethodNotAllowed", refused(405, [errors.MethodNotAllowed]))
    endpoints = [f"{name}.feedback" for name in names_of(app, blueprint)]
    for rule in itertools.chain(*map(app.url_map.iter_rules, endpoints)):
        path = re.sub(r"<(?:[^<>]*:)?([^<>:]+)>", r"{\1}", rule.rule)
        variables = [
            {"in": "path", "name": variable, "required": True, "schema": TEXT}
            for variable in sorted(rule.arguments)
        ]
        spec.path(path, operations=operations(), parameters=variables)
    return spec.to_dict()


def limits(
    _: object,
    field: MessageIDField | RatingField | TextField | MetadataField,
    ret: dict[str, Any],
) -> dict[str, Any]:
    """Describe what a field takes. `ret` is what apispec found; an `enum` in it is enough."""
    said: dict[str, Any]
    match field:
        case MessageIDField():
            types, said = ["string", "integer"], LABEL
        case RatingField():
            types, said = ["string", "integer"], LABEL | IN_64_BITS
        case TextField():
            types, said = ["string"], {"maxLength": field.max_bytes}
            said |= {} if field.blank else NOT_BLANK
        case _:
            types, said = ["object"], {"maxProperties": MAX_ENTRIES, "propertyNames": ENTRY_NAME}
            said["additionalProperties"] = ENTRY_VALUE
    types += ["null"] if field.allow_none else []
    return {
        "type": types,
        "description": summary_of(type(field)),
        **({} if "enum" in ret else said),
    }


def operations() -> dict[str, Any]:
    """Describe the methods of `/feedback`."""
    body = {"required": True, "content": {"application/json": {"schema": "Feedback"}}}
    one = {"in": "query", "name": "message_id", "required": True, "schema": TEXT}
    many = one | {"schema": TEXTS | {"minItems": 1, "maxItems": MAX_MESSAGES}}
    # A vote may be older than the ratings that the app declares.
    rating, said = {"type": ["string", "integer"]}, {"category": OR_NULL, "message": OR_NULL}
    votes = {"type": "array", "items": object_of(**NAMED, rating=rating, **said)}
    standing = "The caller's standing votes, and the messages that the caller can rate."
    read = answered(standing, feedback=votes, rateable=TEXTS)
    unchanged, accepted, retracted = (
        answered(description, **NAMED, status={"const": status})
        for description, status in (
            ("The vote was the same before.", "unchanged"),
            ("The vote is kept, and will arrive in New Relic.", "accepted"),
            ("The retraction is kept, and will arrive in New Relic.", "retracted"),
        )
    )
    return {
        "post": operation(post, SENDING, {200: unchanged, 202: accepted}, requestBody=body),
        "get": operation(get, READING, {200: read}, parameters=[many]),
        "delete": operation(delete, VOTING, {202: retracted}, parameters=[one]),
    }


def operation(
    view: object, refusals: Sequence[type[errors.Refusal]], answers: dict[int, Any], **request: Any
) -> dict[str, Any]:
    """Describe one method."""
    responses, by_status = dict(answers), attrgetter("status")
    for status, alike in itertools.groupby(sorted(refusals, key=by_status), by_status):
        responses[status] = refused(status, list(alike))
    return {"summary": summary_of(view), **request, "responses": responses}


def answered(description: str, **properties: Any) -> dict[str, Any]:
    """Describe an answer that is not a refusal."""
    media = {"application/json": {"schema": object_of(**properties)}}
    return {"description": description, "content": media}


def refused(status: int, refusals: Sequence[type[errors.Refusal]]) -> dict[str, Any]:
    """Describe the problem document of all refusals with one status."""
    own: dict[str, Any] = {"status": {"const": status}}
    own["code"] = {"enum": [refusal.code for refusal in refusals]}
    if errors.Invalid in refusals:
        own["errors"] = {"type": "object", "additionalProperties": BY_FIELD}
    media = {"application/problem+json": {"schema": {"allOf": ["Problem", object_of(**own)]}}}
    description = " ".join(map(summary_of, refusals))
    described: dict[str, Any] = {"description": description, "content": media}
    if errors.MethodNotAllowed in refusals:
        described["headers"] = {"Allow": {"schema": TEXT, "required": True}}
    if any(refusal.retry_after for refusal in refusals):
        seconds = {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}
        described["headers"] = {"Retry-After": seconds | {"required": True}}
    return described


def object_of(**properties: Any) -> dict[str, Any]:
    """Describe an object that has all of these properties."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def summary_of(documented: object) -> str:
    """Return the first line of the docstring of a class or function."""
    return (inspect.getdoc(documented) or "").partition("\n")[0]
