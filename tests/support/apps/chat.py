"""The chat app of the end-to-end tests: every way to make a message, by the public API alone."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import newrelic.agent
from flask import Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue

from feedback_blueprint import FeedbackBlueprint

CONTEXT = {"model": "parrot-1", "temperature": 0.5, "prompt_version": 3}

feedback = FeedbackBlueprint()
app = Flask(__name__)
app.config.from_prefixed_env()
app.register_blueprint(feedback)


@app.before_request
def obey_the_test() -> None:
    """What an app may do to its transaction."""
    match request.headers.get("X-Transaction"):
        case "ignore":
            newrelic.agent.ignore_transaction()
        case "end":
            newrelic.agent.end_of_transaction()
        case "name":
            newrelic.agent.set_transaction_name("the app's own", priority=3)


@app.after_request
def show_trace_and_worker(response: Response) -> Response:
    response.headers["X-Worker"] = str(os.getpid())
    # What a client makes of it by a header of its own may be no text.
    response.headers["X-Trace-ID"] = str(newrelic.agent.current_trace_id() or "")
    return response


@app.get("/")
def home() -> ResponseReturnValue:
    return {"trace_id": newrelic.agent.current_trace_id()}


def prompt() -> str:
    return str(request.get_json()["prompt"])


# The four kinds of function


@feedback.trace_message(context=CONTEXT)
def answer(text: str, *, message_id: str = "") -> dict[str, Any]:
    return {"message_id": message_id, "reply": text}


@feedback.trace_message(context=CONTEXT)
async def answer_async(text: str, *, message_id: str = "") -> dict[str, Any]:
    await asyncio.sleep(0)
    return {"message_id": message_id, "reply": text}


@feedback.trace_message(context=CONTEXT)
def stream(text: str) -> Iterator[str]:
    yield from text


@feedback.trace_message(context=CONTEXT)
async def stream_async(text: str) -> AsyncIterator[str]:
    for letter in text:
        await asyncio.sleep(0)
        yield letter


@feedback.trace_message(context=CONTEXT)
@newrelic.agent.function_trace()
def stream_traced(text: str) -> Iterator[str]:
    yield from text


@app.post("/plain")
def plain_view() -> ResponseReturnValue:
    return answer(prompt())


@app.post("/async")
async def async_view() -> ResponseReturnValue:
    return await answer_async(prompt())


@app.post("/generator")
def generator_view() -> ResponseReturnValue:
    return Response(stream(prompt()), mimetype="text/plain")


@app.post("/traced-generator")
def traced_generator_view() -> ResponseReturnValue:
    return Response(stream_traced(prompt()), mimetype="text/plain")


@app.post("/async-generator")
async def async_generator_view() -> ResponseReturnValue:
    return "".join([letter async for letter in stream_async(prompt())])


# Other ways to name a message: each answers {"message_id": ...}


@dataclass
class Chunk:
    id: str
    text: str


@feedback.trace_message(message_id="id")
def named(text: str) -> dict[str, Any]:
    return {"id": f"named-{text}"}


@feedback.trace_message(message_id=lambda reply: reply["choices"][0]["id"])
def computed(text: str) -> dict[str, Any]:
    return {"choices": [{"id": f"computed-{text}"}]}


@feedback.trace_message(message_id="id")
def named_stream(text: str) -> Iterator[Chunk]:
    for letter in text:
        yield Chunk(f"named-stream-{text}", letter)


@feedback.trace_message
def only_text(text: str) -> str:
    return text


@app.post("/named")
def named_view() -> ResponseReturnValue:
    return {"message_id": named(prompt())["id"]}


@app.post("/computed")
def computed_view() -> ResponseReturnValue:
    return {"message_id": computed(prompt())["choices"][0]["id"]}


@app.post("/named-stream")
def named_stream_view() -> ResponseReturnValue:
    return {"message_id": [chunk.id for chunk in named_stream(prompt())][-1]}


@app.post("/text")
def text_view() -> ResponseReturnValue:
    only_text(prompt())
    return {"message_id": feedback.message_id}


@app.post("/stash")
def stash_view() -> ResponseReturnValue:
    return {"message_id": feedback.stash(f"row-{prompt()}")}


@app.post("/again")
def again_view() -> ResponseReturnValue:
    return {"message_id": feedback.stash(f"again-{prompt()}", replace=True)}


@app.post("/thread")
def thread_view() -> ResponseReturnValue:
    captured = feedback.capture()
    with ThreadPoolExecutor(1) as pool:
        return {"message_id": pool.submit(captured.stash, f"thread-{prompt()}").result()}


# Several messages of one request, and a message with as much context as there may be


@app.post("/several")
def several_view() -> ResponseReturnValue:
    return jsonify([answer(prompt())["message_id"] for _ in range(3)])


@feedback.trace_message(context={f"context_{number}": "x" * 255 for number in range(16)})
def rich(text: str, *, message_id: str = "") -> dict[str, Any]:
    return {"message_id": message_id, "reply": text}


@app.post("/rich")
def rich_view() -> ResponseReturnValue:
    return rich(prompt())
