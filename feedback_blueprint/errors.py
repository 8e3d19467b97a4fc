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
    """A wrong value, found at start-up. Names the key, the value and the remedy.

    If a `flask` command loads such an app, it prints this without a traceback.
    """


class Refusal(FeedbackError):
    """Feedback that was not acknowledged. To send it again does no harm.

    `status` is the HTTP status of the answer, `code` the reason in the problem document that a
    program can read.
    """

    status: ClassVar[int]
    code: ClassVar[str]
    retry_after: int | None = None
    """Seconds after which sending it again makes sense."""
    public: ClassVar[str | None] = None
    """What a route answers in place of the exception's text, if that is for the log alone."""

    @property
    def detail(self) -> str:
        """What a route answers."""
        return self.public or str(self)


# `flask feedback openapi` publishes the first line of each refusal.


class MalformedJSON(Refusal):
    """The request body is not JSON."""

    status = 400
    code = "malformed-json"


class UnknownMessage(Refusal):
    """The message was never made, has expired, is another rater's, or has no vote to retract.

    Nobody is told which of the first three it is.
    """

    status = 404
    code = "unknown-message"

    def __init__(
        self, detail: str = "There is no such message, or it can no longer be rated."
    ) -> None:
        super().__init__(detail)


class MethodNotAllowed(Refusal):
    """The route does not have this method. The header `Allow` names those that it has."""

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
            "This page was made for a different person than the one who is logged in. "
            "Log in again, or reload the page."
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
    """The feedback is not valid. `errors` maps each wrong field to its problems."""

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
    """The store did not answer in time, or its answer made no sense.

    The exception's text says why, and the `remedy`. `unreachable` is set if nothing answered in
    time: the whole `store`, or the `node` of it that keeps the message. With `turn` nobody asked
    the store, because other callers waited for it first.
    """

    status = 503
    code = "store-unavailable"
    retry_after: int | None = 1
    public = "Feedback cannot be kept at the moment. Send it again."

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
        """Return a new exception like this one, to raise once more."""
        return StoreUnavailable(self.why, self.remedy, unreachable=self.unreachable)


class AgentNotRecording(Refusal):
    """The New Relic agent would drop the event now.

    The exception's text says why, and what to do.
    """

    status = 503
    code = "agent-not-recording"
    retry_after: int | None = 5
    public = "Feedback cannot be recorded at the moment. Send it again later."
