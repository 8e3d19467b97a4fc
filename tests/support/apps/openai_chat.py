"""A chat app on the `openai` SDK: replies whole and streamed, sync and async."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext

import newrelic.agent
from flask import Flask, Response, request
from flask.typing import ResponseReturnValue
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionUserMessageParam

from feedback_blueprint import FeedbackBlueprint

MODEL = "stand-in-1"

feedback = FeedbackBlueprint(rater=lambda: request.headers.get("User"))
llm = OpenAI()
app = Flask(__name__)
app.config.from_prefixed_env()
app.register_blueprint(feedback)


@app.after_request
def show_the_trace(response: Response) -> Response:
    response.headers["X-Trace-ID"] = newrelic.agent.current_trace_id() or ""
    return response


@app.get("/")
def home() -> ResponseReturnValue:
    return {}


def prompt() -> list[ChatCompletionUserMessageParam]:
    return [{"role": "user", "content": request.get_json()["prompt"]}]


@feedback.trace_message(message_id="id")
def complete(messages: list[ChatCompletionUserMessageParam]) -> ChatCompletion:
    return llm.chat.completions.create(model=MODEL, messages=messages)


@feedback.trace_message
def stream(messages: list[ChatCompletionUserMessageParam]) -> Iterator[str]:
    for chunk in llm.chat.completions.create(model=MODEL, messages=messages, stream=True):
        yield chunk.choices[0].delta.content or ""


@feedback.trace_message
async def complete_async(messages: list[ChatCompletionUserMessageParam]) -> str:
    async with AsyncOpenAI() as client:
        reply = await client.chat.completions.create(model=MODEL, messages=messages)
        return reply.choices[0].message.content or ""


@feedback.trace_message
async def stream_async(messages: list[ChatCompletionUserMessageParam]) -> AsyncIterator[str]:
    async with AsyncOpenAI() as client:
        chunks = await client.chat.completions.create(model=MODEL, messages=messages, stream=True)
        async for chunk in chunks:
            yield chunk.choices[0].delta.content or ""


@app.post("/plain")
def plain_view() -> ResponseReturnValue:
    return complete(prompt()).choices[0].message.content or ""


@app.post("/generator")
def generator_view() -> ResponseReturnValue:
    return Response(stream(prompt()))


@app.post("/async")
async def async_view() -> ResponseReturnValue:
    return await complete_async(prompt())


@app.post("/async-generator")
async def async_generator_view() -> ResponseReturnValue:
    return "".join([piece async for piece in stream_async(prompt())])


# How a stream is read: in a `with` block or without, to its end or to its `finish_reason`


def read(ends: bool, block: bool) -> Iterator[str]:
    chunks = llm.chat.completions.create(model=MODEL, messages=prompt(), stream=True)
    with chunks if block else nullcontext(chunks) as entered:
        for chunk in entered:
            yield chunk.choices[0].delta.content or ""
            if ends and chunk.choices[0].finish_reason:
                break


async def read_async(ends: bool, block: bool) -> list[str]:
    pieces = []
    async with AsyncOpenAI() as client:
        chunks = await client.chat.completions.create(model=MODEL, messages=prompt(), stream=True)
        async with chunks if block else nullcontext(chunks) as entered:
            async for chunk in entered:
                pieces.append(chunk.choices[0].delta.content or "")
                if ends and chunk.choices[0].finish_reason:
                    break
    return pieces


@app.post("/read")
async def read_view() -> ResponseReturnValue:
    asked = request.get_json()
    how = asked["end"] == "break", asked["with"] == "with"
    if asked["kind"] == "stream":
        return "".join(read(*how))
    return "".join(await read_async(*how))
