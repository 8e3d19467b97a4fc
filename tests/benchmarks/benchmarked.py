"""The apps that are compared: bare Flask, what people write by hand, and ours on each store."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import newrelic.agent
import redis
from flask import Flask, request
from flask.typing import ResponseReturnValue

from feedback_blueprint import FeedbackBlueprint

URL = os.environ["BENCHMARK_REDIS_URL"]
WEEK = 7 * 24 * 3600


def llm(prompt: str) -> str:
    return prompt[::-1]


# Bare Flask: the floor under all of this

bare = Flask("bare")


@bare.get("/")
def home() -> ResponseReturnValue:
    return {"pid": os.getpid()}


@bare.post("/chat")
def bare_chat() -> ResponseReturnValue:
    return {"message_id": uuid4().hex, "reply": llm(request.get_json()["prompt"])}


@bare.post("/feedback")
def bare_feedback() -> ResponseReturnValue:
    return {"message_id": request.get_json()["message_id"]}, 202


# By hand: no validation, no ownership, nothing when Redis or the agent is out, every click an event

by_hand = Flask("by_hand")
by_hand.add_url_rule("/", view_func=home)
client = redis.Redis.from_url(URL)


@by_hand.post("/chat")
def by_hand_chat() -> ResponseReturnValue:
    message_id = uuid4().hex
    client.set(f"feedback:{message_id}", newrelic.agent.current_trace_id(), ex=WEEK)
    return {"message_id": message_id, "reply": llm(request.get_json()["prompt"])}


@by_hand.post("/feedback")
def by_hand_feedback() -> ResponseReturnValue:
    vote = request.get_json()
    trace_id = client.get(f"feedback:{vote['message_id']}")
    if trace_id is None:
        return {"error": "unknown message"}, 404
    newrelic.agent.record_llm_feedback_event(
        trace_id=trace_id.decode(),
        rating=vote["rating"],
        category=vote.get("category"),
        message=vote.get("message"),
        metadata=vote.get("metadata"),
    )
    return {"status": "recorded"}, 202


# Ours


def with_blueprint(
    name: str, store_url: str, rater: Callable[[], str | None] | None = None
) -> Flask:
    feedback = FeedbackBlueprint(rater=rater)

    @feedback.trace_message
    def answer(prompt: str, *, message_id: str) -> dict[str, Any]:
        return {"message_id": message_id, "reply": llm(prompt)}

    app = Flask(name)
    app.config.from_prefixed_env()
    app.config["FEEDBACK_STORE_URL"] = store_url
    app.secret_key = "secret" if rater else None
    app.register_blueprint(feedback)
    app.add_url_rule("/", view_func=home)
    app.add_url_rule(
        "/chat", "chat", lambda: answer(request.get_json()["prompt"]), methods=["POST"]
    )
    return app


def __getattr__(name: str) -> Flask:
    """Make one of ours when it is asked for: each that is there follows the agent's harvests."""
    made = {
        "ours": lambda: with_blueprint(name, URL),
        "owned": lambda: with_blueprint(name, URL, lambda: request.headers.get("X-User")),
        "embedded": lambda: with_blueprint(name, f"sqlite:///{os.environ['BENCHMARK_FILE']}"),
    }
    if name not in made:
        raise AttributeError(name)
    app = globals()[name] = made[name]()
    return app
