"""Type-checked and never run: decorated functions keep their signatures."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator
from uuid import UUID

from flask import Flask, session
from typing_extensions import assert_type

from feedback_blueprint import FeedbackBlueprint

feedback = FeedbackBlueprint(rater=lambda: session.get("user"), url_prefix="/llm")


@feedback.trace_message
def plain(prompt: str, *, message_id: str = "") -> dict[str, str]:
    return {"message_id": message_id, "reply": prompt}


@feedback.trace_message(message_id="id", context={"model": "m", "temperature": 0.5})
async def coroutine(prompt: str) -> str:
    return prompt


@feedback.trace_message(message_id=lambda item: UUID(item), context=lambda item: {"n": len(item)})
def generator(prompt: str) -> Generator[str, int, bool]:
    yield prompt
    return True


@feedback.trace_message(content=lambda items: "".join(items))
async def async_generator(prompt: str) -> AsyncIterator[str]:
    yield prompt


class Bot:
    @feedback.trace_message
    def answer(self, prompt: str) -> Iterator[str]:
        yield prompt


async def check() -> None:
    assert_type(plain("hi"), dict[str, str])
    assert_type(await coroutine("hi"), str)
    assert_type(generator("hi"), Generator[str, int, bool])
    assert_type(async_generator("hi"), AsyncIterator[str])
    assert_type(Bot().answer("hi"), Iterator[str])
    assert_type(feedback.stash(5), str | None)
    assert_type(feedback.capture().stash(UUID(int=1)), str | None)
    assert_type(feedback.message_id, str | None)
    assert_type(feedback.record("m", "good").revision, int)
    assert_type(feedback.retract("m").status == "retracted", bool)
    plain(5)  # type: ignore[arg-type]
    plain("hi", model="m")  # type: ignore[call-arg]
    feedback.trace_message(message_id=5)  # type: ignore[call-overload]
    Flask(__name__).register_blueprint(feedback)
