"""The routes: they take and answer JSON, and refuse with RFC 9457 problem documents."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any, NoReturn

from flask import Blueprint, Response, current_app, request
from flask.sansio.blueprints import BlueprintSetupState
from werkzeug import exceptions
from werkzeug.wsgi import get_input_stream

from ..errors import (
    Invalid,
    MalformedJSON,
    MethodNotAllowed,
    NotJSON,
    OtherRater,
    Refusal,
    TooLarge,
)
from ..logs import logger
from ..raters import Raters, tag
from ..votes import Votes
from .routes import FEEDBACK_PATH, check_routes, map_of

MAX_BODY_BYTES = 64 * 1024
"""The most bytes of a request body."""

MAX_MESSAGES = 100
"""Messages that one GET may name."""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


JSON = json.JSONDecoder(parse_constant=_refuse_constant)


TRANSACTION = f"{__name__}:feedback"
"""What the agent calls a request to `/feedback`: the module and the name of the view."""


def add_route(blueprint: Blueprint, votes: Callable[[], Votes]) -> None:
    """Add the route `/feedback`, and two hooks that run before each request of the app.

    `votes` returns the `Votes` of the current app.
    """
    # With its name: the agent, Flask-WTF and Flask-Limiter ask for that.
    view = functools.update_wrapper(functools.partial(feedback, votes), feedback)
    blueprint.add_url_rule(FEEDBACK_PATH, view_func=view, methods=[*ANSWERS])

    def add_hooks(state: BlueprintSetupState) -> None:
        name = f"{state.name_prefix}.{state.name}".lstrip(".")
        # before_app_request() would have the agent trace them in each request of the app.
        state.app.before_request_funcs.setdefault(None, []).extend(
            (
                functools.partial(check_routes_once, name, votes, iter([True])),
                functools.partial(refuse_method, name, votes),
            )
        )

    blueprint.record(add_hooks)


def feedback(votes: Callable[[], Votes], **_: Any) -> Response:
    """Answer a request, and ignore the variables of the app's `url_prefix`."""
    try:
        return ANSWERS[request.method](votes())
    except Refusal as refusal:
        if refusal.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise
        return problem_response(refusal)  # if it were raised, the agent would count an error


# `flask feedback openapi` publishes the first line of each of these.


def post(votes: Votes) -> Response:
    """Vote."""
    receipt = votes.submit(read_json(), caller(votes.raters))
    return json_response(receipt._asdict(), 200 if receipt.status == "unchanged" else 202)


def get(votes: Votes) -> Response:
    """Read the caller's standing votes back."""
    message_ids = message_ids_of_query()
    if not 0 < len(message_ids) <= MAX_MESSAGES:
        raise Invalid({"message_id": [f"Give one to {MAX_MESSAGES} of them in the query."]})
    each_once = list(dict.fromkeys(message_ids))
    return json_response(votes.read(each_once, caller(votes.raters)), 200)


def delete(votes: Votes) -> Response:
    """Retract a vote."""
    message_ids = message_ids_of_query()
    if len(message_ids) != 1:
        raise Invalid({"message_id": ["Give exactly one in the query."]})
    return json_response(votes.retract(message_ids[0], caller(votes.raters))._asdict(), 202)


ANSWERS = {"GET": get, "HEAD": get, "POST": post, "DELETE": delete}
"""What answers a request, by its method."""


def caller(raters: Raters) -> Sequence[bytes]:
    """Return the caller's hashes; raises `OtherRater` if the page was made for another rater."""
    hashes = raters.of_caller()
    page = request.headers.get("X-Feedback-Rater")
    if page is not None and page not in map(tag, hashes):
        raise OtherRater
    return hashes


def check_routes_once(name: str, votes: Callable[[], Votes], is_first: Iterator[bool]) -> None:
    """Log which routes of the app are in the way of ours: at the first request all are known.

    `is_first` has one item. Of threads that ask for it at once, one gets it.
    """
    if next(is_first, False):
        with votes().log.catch("The app's routes could not be checked."):
            for finding in check_routes(current_app, [name]):
                logger.error("Blueprint %r: %s. %s", name, finding.seen, finding.remedy)


def refuse_method(name: str, votes: Callable[[], Votes]) -> Response | None:
    """Refuse a method that the route does not have. Flask would not ask the view.

    Flask would answer with a page of HTML, and raise what the agent counts as an error of the app.
    """
    error = request.routing_exception
    if not isinstance(error, exceptions.MethodNotAllowed) or not _asks_for(f"{name}.feedback"):
        return None
    votes().agent.name_transaction(TRANSACTION)
    return problem_response(MethodNotAllowed(error.valid_methods or ()))


def _asks_for(endpoint: str) -> bool:
    """Whether the path is ours.

    The app's other routes are not tried, because that runs their converters.
    """
    adapter: Any = current_app.create_url_adapter(request)
    adapter.map = map_of(adapter.map, *adapter.map.iter_rules(endpoint))
    with suppress(Exception):  # it is not ours, or a converter in the app's url_prefix fails
        adapter.match(method="GET")
        return True
    return False


def message_ids_of_query() -> list[str]:
    """Return the message IDs of the query; raises `Invalid` if they are not UTF-8."""
    try:
        return request.args.getlist("message_id")
    except UnicodeDecodeError as error:  # some servers pass on bytes that no URL may hold
        raise Invalid({"message_id": ["Send it as UTF-8, percent-encoded."]}) from error


def read_json() -> Any:
    """Return the request's body; raises `NotJSON`, `TooLarge` or `MalformedJSON`."""
    if not request.is_json:
        raise NotJSON("Send the Content-Type application/json.")
    apps_limit = request.max_content_length
    limit = MAX_BODY_BYTES if apps_limit is None else min(apps_limit, MAX_BODY_BYTES)
    if (request.content_length or 0) > limit or len(body := _read_body(limit)) > limit:
        raise TooLarge(f"The body is over {limit} bytes.")
    try:
        return JSON.decode(body.decode())
    except (ValueError, RecursionError) as error:
        raise MalformedJSON("The body is not JSON.") from error


def _read_body(limit: int) -> bytes:
    """Return the body. Of a longer one, at most one byte more than `limit` is read."""
    # A server that ends the input itself allows a body without a Content-Length.
    ends_itself = "wsgi.input_terminated" in request.environ
    try:
        if ends_itself:  # else werkzeug reads what the Content-Length says
            stream = get_input_stream(request.environ, max_content_length=limit + 1)
            vars(request)["stream"] = stream  # as werkzeug does, once it has parsed a form
        body = request.get_data()
        if ends_itself and len(body) == limit:
            body += request.input_stream.read(1)  # the app's own limit may have cut it
        if len(body) < (request.content_length or 0):
            raise EOFError
    except Exception as error:  # each server raises its own for a body that ends early
        raise MalformedJSON("The body cannot be read.") from error
    return body


def problem_response(refusal: Refusal) -> Response:
    """Return a problem document."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(refusal.status).phrase,
        "status": refusal.status,
        "detail": refusal.detail,
        "code": refusal.code,
    }
    if isinstance(refusal, Invalid):
        document["errors"] = refusal.errors
    response = json_response(document, refusal.status)
    response.mimetype = "application/problem+json"
    if isinstance(refusal, MethodNotAllowed):
        response.headers["Allow"] = refusal.allowed
    if refusal.retry_after is not None:
        response.headers["Retry-After"] = str(refusal.retry_after)
        response.headers["Access-Control-Expose-Headers"] = "Retry-After"
    return response


def json_response(document: Any, status: int) -> Response:
    """Return JSON that no cache may keep: it is the caller's own."""
    # The app's own JSON encoder may fail on half a surrogate pair, or rename our keys.
    response = Response(json.dumps(document), status, mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
