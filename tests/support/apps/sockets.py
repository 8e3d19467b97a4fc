"""A chat over a socket, of users who logged in by HTTP."""

from __future__ import annotations

from typing import Any

import newrelic.agent
from flask import Flask
from flask.typing import ResponseReturnValue
from flask_login import LoginManager, UserMixin, current_user, login_user
from flask_socketio import SocketIO

from feedback_blueprint import FeedbackBlueprint, Refusal

feedback = FeedbackBlueprint(rater=lambda: current_user.get_id())
app = Flask(__name__)
app.config.from_prefixed_env()
app.register_blueprint(feedback)
socketio = SocketIO(app, async_mode="threading")
login = LoginManager(app)


@login.user_loader
def load(name: str) -> UserMixin:
    user = UserMixin()
    user.id = name
    return user


@app.get("/")
def home() -> ResponseReturnValue:
    return {}


@app.get("/login/<name>")
def log_in(name: str) -> ResponseReturnValue:
    login_user(load(name))
    return {}


@feedback.trace_message
def answer(prompt: str) -> str:
    return prompt.upper()


def reply(prompt: str) -> dict[str, Any]:
    return {
        "reply": answer(prompt),
        "message_id": feedback.message_id,
        "stashed": feedback.stash(),
        "trace_id": newrelic.agent.current_trace_id(),
    }


@socketio.on("ask")
@newrelic.agent.background_task()
def ask(prompt: str) -> dict[str, Any]:
    return reply(prompt)


@socketio.on("ask without a transaction")
def ask_without(prompt: str) -> dict[str, Any]:
    return reply(prompt)


@newrelic.agent.background_task()
@socketio.on("ask in the wrong order")
def ask_in_the_wrong_order(prompt: str) -> dict[str, Any]:
    return reply(prompt)


@socketio.on("rate")
def rate(message_id: str, rating: str) -> str:
    try:
        return feedback.submit(message_id, rating).status
    except Refusal as refusal:
        return refusal.code


@socketio.on("retract")
def retract(message_id: str) -> str:
    try:
        return feedback.retract(message_id).status
    except Refusal as refusal:
        return refusal.code
