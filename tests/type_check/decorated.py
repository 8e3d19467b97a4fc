"""Type-checked and never run: the decorator keeps the signature of each kind of function.

Each wrong call names the error that it must be for mypy and pyright: the one that finds none fails.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Protocol, TypeVar
from uuid import UUID

from typing_extensions import assert_type

from feedback_blueprint import FeedbackBlueprint

T = TypeVar("T")
feedback = FeedbackBlueprint()


@feedback.trace_message
def plain(prompt: str, *, message_id: str = "") -> dict[str, str]:
    return {"message_id": message_id, "reply": prompt}


@feedback.trace_message
async def coroutine(prompt: str, *, message_id: str = "") -> str:
    return prompt


@feedback.trace_message
def generator(prompt: str, *, message_id: str = "") -> Generator[str, int, bool]:
    yield prompt
    return True


@feedback.trace_message
async def async_generator(prompt: str, *, message_id: str = "") -> AsyncGenerator[str, int]:
    yield prompt


@feedback.trace_message(message_id="id", context={"model": "m", "temperature": 0.5})
def plain_with_arguments(prompt: str) -> dict[str, str]:
    return {"id": prompt}


@feedback.trace_message(message_id=lambda reply: reply["id"])
async def coroutine_with_arguments(prompt: str) -> dict[str, int]:
    return {"id": len(prompt)}


@feedback.trace_message(message_id=lambda item: UUID(item), context=lambda item: {"n": len(item)})
def generator_with_arguments(prompt: str) -> Iterator[str]:
    yield prompt


@feedback.trace_message(message_id="id", replace=True)
def plain_made_again(prompt: str) -> dict[str, str]:
    return {"id": prompt}


@feedback.trace_message(content=lambda items: "".join(items))
async def async_generator_with_arguments(prompt: str) -> AsyncIterator[str]:
    yield prompt


@feedback.trace_message()
def generic(prompt: T, *more: T) -> list[T]:
    return [prompt, *more]


class Bot:
    @feedback.trace_message
    def answer(self, prompt: str) -> Iterator[str]:
        yield prompt

    @feedback.trace_message(message_id="id")
    async def think(self, prompt: str) -> dict[str, str]:
        return {"id": prompt}

    @classmethod
    @feedback.trace_message
    def greet(cls, prompt: str) -> str:
        return prompt

    @feedback.trace_message
    @classmethod
    def welcome(cls, prompt: str) -> str:
        return prompt

    @feedback.trace_message
    @staticmethod
    def part(prompt: str) -> Iterator[str]:
        yield prompt


class Chat(Protocol):
    def __call__(self, prompt: str, *, message_id: str = ...) -> dict[str, str]: ...


def serve(chat: Chat) -> None:
    chat("hi")


async def results() -> None:
    assert_type(plain("hi"), dict[str, str])
    assert_type(await coroutine("hi", message_id="m"), str)
    assert_type(generator(prompt="hi"), Generator[str, int, bool])
    assert_type(async_generator("hi"), AsyncGenerator[str, int])
    assert_type(plain_with_arguments("hi"), dict[str, str])
    assert_type(plain_made_again("hi"), dict[str, str])
    assert_type(await coroutine_with_arguments("hi"), dict[str, int])
    assert_type(generator_with_arguments("hi"), Iterator[str])
    assert_type(async_generator_with_arguments("hi"), AsyncIterator[str])
    assert_type(generic(1, 2), list[int])
    assert_type(Bot().answer("hi"), Iterator[str])
    assert_type(await Bot().think("hi"), dict[str, str])
    assert_type(Bot.greet("hi"), str)
    assert_type(Bot.welcome("hi"), str)
    assert_type(Bot().part("hi"), Iterator[str])
    serve(plain)


async def wrong_calls() -> None:
    """Each is an error under both checkers, or its comment is one."""
    plain()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    plain("hi", "m")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    plain("hi", model="m")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    plain(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await coroutine(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    generator(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async_generator(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    plain_with_arguments(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await coroutine_with_arguments(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    generator_with_arguments(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async_generator_with_arguments(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Bot().answer(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await Bot().think(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Bot.greet(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    serve(coroutine)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    serve(generator)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await plain("hi")  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]


def wrong_arguments() -> None:
    feedback.trace_message(5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    feedback.trace_message(message_id=5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    feedback.trace_message(context="m")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    feedback.trace_message(context={5: "m"})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    feedback.trace_message(context=len)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    feedback.trace_message(replace="yes")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    feedback.trace_message(content=len)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    feedback.trace_message(model="m")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
