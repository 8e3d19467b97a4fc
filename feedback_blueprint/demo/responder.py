"""The demo's replies: from an OpenAI-compatible server if one is configured, or built in."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

ANSWERS = {
    "What happens when I press a thumb?": (
        "Your vote goes to POST /feedback with this message's ID. The server knows which trace "
        "made it, and hands the New Relic agent an LlmFeedbackMessage event with that trace ID. "
        "You see the event below, as the agent took it."
    ),
    "What is a trace ID good for?": (
        "New Relic keeps it on all that happened in one request: the prompt, the completion, the "
        "tokens, the time each step took. With it on your feedback, whoever reads “not helpful” "
        "can open the very request that was not."
    ),
    "Can I change my mind?": (
        "Yes. Press the other thumb or add a comment: the same feedback goes out again with the "
        "next revision number, and the latest counts. Press the same thumb to take it back."
    ),
}
PROMPT = (
    "You are the assistant in a demo of feedback_blueprint, which records thumbs up and down on "
    "your replies in New Relic. Be brief. Write plain text, without Markdown. "
    + " ".join(f"Q: {question} A: {reply}" for question, reply in ANSWERS.items())
)
USES_OPENAI = bool(os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"))
MODEL = (os.environ.get("OPENAI_MODEL") or "gpt-4o-mini") if USES_OPENAI else "built-in responder"
FACTS: dict[str, str | int] = {"model": MODEL, "prompt_version": 1}

Messages = Sequence[Mapping[str, str]]
"""A conversation in the form of the OpenAI API: `role` and `content` of each turn."""


def reply(messages: Messages) -> Iterator[str]:
    """Stream a reply to the conversation, piece by piece."""
    return _from_openai(messages) if USES_OPENAI else _built_in(messages[-1]["content"])


def _from_openai(messages: Messages) -> Iterator[str]:
    from openai import OpenAI  # here, because the built-in replies do without it

    # A local server needs no key, but the client wants one.
    client = OpenAI(api_key=os.environ.get("OPENAI_API_KEY") or "none")
    # Read it to its end: a `break` at `finish_reason` would hide it from the agent.
    prompt: list[Any] = [{"role": "system", "content": PROMPT}, *messages]
    for chunk in client.chat.completions.create(model=MODEL, messages=prompt, stream=True):
        if chunk.choices and (text := chunk.choices[0].delta.content):
            yield text


def _built_in(prompt: str) -> Iterator[str]:
    text = ANSWERS.get(
        prompt,
        f"You said “{prompt}”. I am not a language model, only the demo's built-in responder, and "
        "can only repeat it. For real replies, set OPENAI_API_KEY, or OPENAI_BASE_URL for a server "
        "of your own, and start the demo again. You can rate this reply all the same.",
    )
    for word in text.split(" "):
        yield word + " "
        time.sleep(0.02)  # as a model does, so that the page has something to stream
