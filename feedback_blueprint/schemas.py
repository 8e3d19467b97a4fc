"""What the body of a vote may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields, missing
from marshmallow.validate import OneOf

from .attributes import (
    MAX_COMMENT_BYTES,
    MAX_ENTRIES,
    MAX_VALUE_BYTES,
    message_id_text,
    rating_problem,
    text_problem,
    validate_entries,
    without_enum,
)
from .errors import Invalid


class MessageIDField(fields.Raw):
    """A message ID: text, or an integer or UUID that becomes text."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        try:
            return message_id_text(value)
        except ValueError as error:
            raise ValidationError(str(error)) from error


class TextField(fields.Raw):
    """Text, limited in bytes."""

    def __init__(self, max_bytes: int, *, blank: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_bytes = max_bytes
        self.blank = blank

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        if problem := text_problem(value, self.max_bytes, blank=self.blank):
            raise ValidationError(problem)
        return str(without_enum(value))


class RatingField(fields.Raw):
    """A label or a 64-bit integer. 0 is a rating; `true` and `1.5` are not."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str | int:
        if problem := rating_problem(value):
            raise ValidationError(problem)
        rating: str | int = without_enum(value)
        return rating


class MetadataField(fields.Raw):
    """A flat object. Its entries become attributes of the event."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise ValidationError("Not a valid object.")
        if len(value) > MAX_ENTRIES:
            raise ValidationError(f"More than {MAX_ENTRIES} entries.")
        valid, problems = validate_entries(value)
        if problems:
            raise ValidationError({name: [problem] for name, problem in problems.items()})
        return valid


class FeedbackSchema(Schema):
    """One vote, as `POST /feedback` and `submit` take it."""

    error_messages = {"type": "Send an object."}  # noqa: RUF012  # as marshmallow declares it

    message_id = MessageIDField(required=True)
    rating = RatingField(required=True)
    category = TextField(MAX_VALUE_BYTES, allow_none=True)
    message = TextField(MAX_COMMENT_BYTES, blank=True, allow_none=True)
    metadata = MetadataField(allow_none=True)


def feedback_schema(
    ratings: Mapping[str | int, float] | None, categories: tuple[str, ...] | None
) -> Schema:
    """Make the schema of one app, with its ratings and categories."""
    declared: dict[str, Any] = {}
    if ratings is not None:
        declared["rating"] = RatingField(required=True, validate=OneOf(tuple(ratings)))
    if categories is not None:
        declared["category"] = TextField(
            MAX_VALUE_BYTES, allow_none=True, validate=OneOf(categories)
        )
    return FeedbackSchema.from_dict(declared)()


def load(schema: Schema, body: object) -> dict[str, Any]:
    """Return the fields of a body; raises `Invalid` with what is wrong with each.

    `Schema.load` also takes lists and fields in fields. For that, a vote takes a fiftieth longer.
    """
    if not isinstance(body, Mapping):
        raise Invalid({"_schema": [schema.error_messages["type"]]})
    unknown = body.keys() - schema.load_fields.keys()
    problems: dict[str, Any] = {name: [schema.error_messages["unknown"]] for name in unknown}
    loaded: dict[str, Any] = {}
    for name, field in schema.load_fields.items():
        try:
            loaded[name] = field.deserialize(body.get(name, missing), name, body)
        except ValidationError as error:
            problems[name] = error.messages
    if problems:
        raise Invalid(problems)
    return {name: value for name, value in loaded.items() if value is not missing}
