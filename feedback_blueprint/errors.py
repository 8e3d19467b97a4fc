"""The blueprint's own exceptions.

FeedbackError
 ├── ConfigurationError
 └── Refusal
      ├── MalformedJSON        400
      ├── UnknownMessage       404
      ├── MethodNotAllowed     405
      ├── OtherRater           409
      ├── TooLarge             413
      ├── NotJSON              415
      ├── Invalid              422
      ├── TooManyRevisions     429
      ├── StoreUnavailable     503
      └── AgentNotRecording    503
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

import click

Unreachable = Literal["store", "node", "turn"]


class FeedbackError(Exception):
    """The root of this tree."""


class ConfigurationError(FeedbackError, click.ClickException):
    """A value that cannot work, found at start-up; names the key, the value and the remedy.

    A command of Flask's that loads such an app prints this, and no traceback.
    """


class Refusal(FeedbackError):
    """Feedback that was not taken. Nothing was acknowledged, so it can be sent again.

    `status` is the HTTP status the routes answer with, `code` the machine-readable reason in the
    problem document.
    """

    status: ClassVar[int]
    code: ClassVar[str]
    retry_after: int | None = None
    """Seconds after which sending it again makes sense."""

    @property
    def detail(self) -> str:
        """What the caller of a route is told."""
        return str(self)


# The first line of each refusal is what `flask feedback openapi` publishes of it.


class MalformedJSON(Refusal):
    """The request body is not JSON."""

    status = 400
    code = "malformed-json"


class UnknownMessage(Refusal):
    """The message was never made, has expired, or is another rater's: never said which."""

    status = 404
    code = "unknown-message"

    def __init__(
        self, detail: str = "There is no such message, or it can no longer be rated."
    ) -> None:
        super().__init__(detail)


class MethodNotAllowed(Refusal):
    """The route has no such method; the header `Allow` names those that it has."""

    status = 405
    code = "method-not-allowed"

    def __init__(self, allowed: Iterable[str]) -> None:
        self.allowed = ", ".join(sorted(allowed))
        super().__init__(f"There is no such method here. Use one of {self.allowed}.")


class OtherRater(Refusal):
    """The header X-Feedback-Rater names another rater than the caller."""

    status = 409
    code = "other-rater"

    def __init__(self) -> None:
        super().__init__(
            "This page was made for another than is logged in now. Log in again, or reload it."
        )


class TooLarge(Refusal):
    """The request body is over the limit."""

    status = 413
    code = "too-large"


class NotJSON(Refusal):
    """The request body has another content type than JSON."""

    status = 415
    code = "not-json"


class Invalid(Refusal):
    """The feedback does not fit; `errors` maps each field to what is wrong with it."""

    status = 422
    code = "invalid"

    def __init__(self, errors: Mapping[str, Any]) -> None:
        super().__init__("The feedback is not valid: see errors.")
        self.errors = errors


class TooManyRevisions(Refusal):
    """The rater has changed this vote as often as the app allows."""

    status = 429
    code = "too-many-revisions"

    def __init__(self, limit: int) -> None:
        super().__init__(f"This vote has had {limit} revisions, which is the limit.")


class StoreUnavailable(Refusal):
    """The store did not answer in time, or not sensibly.

    The exception's text says why and the `remedy`, for the log: it is no business of the caller of
    a route. `unreachable`: the whole store, or the part of it that keeps the message, could not be
    asked at all, or did not answer in time; or it is `turn`, and this caller's turn never came.
    """

    status = 503
    code = "store-unavailable"
    retry_after: int | None = 1

    def __init__(
        self,
        why: str,
        remedy: str = "See its log.",
        *,
        unreachable: Unreachable | None = None,
    ) -> None:
        super().__init__(f"{why.rstrip('.')}. {remedy}")
        self.why = why
        self.remedy = remedy
        self.unreachable: Unreachable | None = unreachable

    def again(self) -> StoreUnavailable:
        """Return another like it, to be raised once more."""
        return StoreUnavailable(self.why, self.remedy, unreachable=self.unreachable)

    @property
    def detail(self) -> str:
        """What the caller of a route is told."""
        return "Feedback cannot be kept at the moment. Send it again."


class AgentNotRecording(Refusal):
    """The New Relic agent would drop the event now.

    The exception's text says why and what to do about it, for the log: it is no business of the
    caller of a route.
    """

    status = 503
    code = "agent-not-recording"
    retry_after: int | None = 5

    @property
    def detail(self) -> str:
        """What the caller of a route is told."""
        return "Feedback cannot be recorded at the moment. Send it again later."
