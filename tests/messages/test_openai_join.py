"""What users buy this for: the agent's own LLM events and the feedback, joined by trace ID."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from collector import Collector
from gunicorn_server import Gunicorn, StartServer
from openai_server import REPLY, openai_server


@pytest.fixture(scope="module")
def server(chat_server: StartServer) -> Iterator[Gunicorn]:
    with openai_server() as url:
        env = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "not-a-key"}
        settings = {"ai_monitoring.enabled": True}
        with chat_server("openai_chat:app", settings=settings, env=env) as running:
            yield running


@pytest.mark.parametrize("kind", ["plain", "generator", "async", "async-generator"])
def test_the_agents_messages_and_the_feedback_share_a_trace(
    server: Gunicorn, collector: Collector, kind: str
) -> None:
    answer = server.post(f"/{kind}", {"prompt": f"What does {kind} join?"})
    assert answer.text == "".join(REPLY)
    message_id = answer.headers["X-Message-ID"]
    vote = server.post("/feedback", {"message_id": message_id, "rating": "good"})
    assert vote.status == 202, vote.text

    [feedback] = collector.wait_for(message_id=message_id)
    asked, replied = collector.wait_for(
        2, "LlmChatCompletionMessage", trace_id=feedback["trace_id"]
    )
    assert feedback["trace_id"] == answer.headers["X-Trace-ID"]
    assert (asked["role"], asked["content"]) == ("user", f"What does {kind} join?")
    assert (replied["role"], replied["content"]) == ("assistant", "".join(REPLY))


@pytest.mark.parametrize("block", ["", "with"])
@pytest.mark.parametrize("kind", ["stream", "async-stream"])
@pytest.mark.parametrize("end", ["all", "break"])
def test_the_agent_records_a_stream_if_it_is_read_to_its_end_with_a_with_block_or_without(
    server: Gunicorn, collector: Collector, kind: str, block: str, end: str
) -> None:
    prompt = f"{kind} {block} {end}"
    answer = server.post("/read", {"prompt": prompt, "kind": kind, "with": block, "end": end})
    assert answer.text == "".join(REPLY)
    trace_id = answer.headers["X-Trace-ID"]
    # What is asked for later arrives later.
    later = server.post("/plain", {"prompt": "What came before?"}).headers["X-Trace-ID"]
    collector.wait_for(2, "LlmChatCompletionMessage", trace_id=later)
    made = collector.events("LlmChatCompletionMessage", trace_id=trace_id)
    assert [event["content"] for event in made] == ([prompt, answer.text] if end == "all" else [])
