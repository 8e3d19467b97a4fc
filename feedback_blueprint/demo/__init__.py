"""A chat app that uses the blueprint as any app does: copy from here.

`python -m feedback_blueprint.demo` serves it under the New Relic agent. With several workers:
`newrelic-admin run-program gunicorn -w 4 "feedback_blueprint.demo:create_app()"`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flask import (
    Flask,
    Response,
    after_this_request,
    render_template,
    request,
    stream_with_context,
)
from werkzeug.exceptions import BadRequest

from feedback_blueprint import FeedbackBlueprint
from feedback_blueprint.demo import responder
from feedback_blueprint.signals import feedback_recorded

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)

feedback = FeedbackBlueprint()


@feedback.trace_message(context=responder.FACTS)
def answer(messages: responder.Messages) -> Iterator[str]:
    """Stream the reply. The page finds its message ID in the response header `X-Message-ID`."""
    yield from responder.reply(messages)


def create_app() -> Flask:
    """Make the app. Reads `FLASK_FEEDBACK_STORE_URL` and the other keys from the environment."""
    app = Flask(__name__, instance_path=str(Path.home() / ".cache" / "feedback_blueprint"))
    app.config.from_prefixed_env()
    app.register_blueprint(feedback)
    feedback_recorded.connect(show_event, app)

    @app.get("/")
    def page() -> str:
        return render_template(
            "chat.html",
            model=responder.MODEL,
            questions=responder.ANSWERS,
            built_in=not responder.USES_OPENAI,
        )

    @app.post("/chat")
    def chat() -> Response:
        match request.get_json():
            case {"messages": [*_, {"role": "user", "content": str()}] as messages}:
                return Response(stream_with_context(answer(messages)), mimetype="text/plain")
            case _:
                raise BadRequest("Send messages, the last of them the user's.")

    @app.after_request
    def secure(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return app


def show_event(_app: Flask, *, attributes: Mapping[str, Any], **_: object) -> None:
    """Show the page the event: put it into the answer to the vote."""

    @after_this_request
    def add_event(response: Response) -> Response:
        # In the body: proxies refuse a header as long as a comment.
        response.set_data(json.dumps(response.get_json() | {"event": dict(attributes)}))
        return response
