"""A page of <message-feedback> elements, as strict about scripts, styles and forgery as can be."""

from __future__ import annotations

import os

from flask import Flask, Response, render_template, request, session
from flask_wtf.csrf import CSRFProtect

from feedback_blueprint import FeedbackBlueprint

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; require-trusted-types-for 'script'"
)

feedback = FeedbackBlueprint(url_prefix="/llm", rater=lambda: session.get("user"))
app = Flask(__name__)
app.config.from_prefixed_env()
app.config["SECRET_KEY"] = "for tests"
app.register_blueprint(feedback)
CSRFProtect(app)


@app.get("/")
def home() -> dict[str, int]:
    return {"pid": os.getpid()}


asked: list[str] = []
instead: list[tuple[int, str]] = []


@app.before_request
def answer_instead() -> tuple[str, int] | None:
    """Note what is asked of the blueprint, and answer a vote as `/instead` has said."""
    if request.path == "/llm/feedback":
        asked.append(request.method)
        if instead and request.method == "POST":
            status, body = instead.pop()
            return body, status
    return None


@app.get("/asked")
def asked_so_far() -> list[str]:
    """Tell the methods by which the blueprint was asked since the last time."""
    told = asked.copy()
    asked.clear()
    return told


@app.get("/instead")
def say_instead() -> str:
    """Have the next vote answered with `status` and `body`."""
    instead.append((int(request.args["status"]), request.args["body"]))
    return ""


@app.get("/login")
def login() -> str:
    """Log in as `user`, or out without one, and tell the tag of that."""
    session["user"] = request.args.get("user")
    return feedback.rater_tag


@app.get("/page")
def page() -> Response:
    """Show an element for each of `ids`, all of which can be rated, and of `unknown`."""
    session["visited"] = True
    ids = list(filter(None, request.args.get("ids", "").split(",")))
    for message_id in ids:
        feedback.stash(message_id)
    ids += filter(None, request.args.get("unknown", "").split(","))
    response = Response(render_template("element.html", ids=ids, feedback=feedback))
    response.headers["Content-Security-Policy"] = POLICY
    return response
