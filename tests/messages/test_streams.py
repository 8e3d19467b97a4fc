"""Decorated generators: stashed in time, and handed through as they are."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from decorated import generator, ids
from flask import Response, stream_with_context
from processes import environment
from runbook import is_quoted


def test_a_stream_is_stashed_when_called_and_handed_through(feedback, call, kept):
    stream = feedback.trace_message(generator)
    response = call(lambda: Response(stream()))
    assert response.text == f"{ids(response)[0]}!"
    assert response.headers["Access-Control-Expose-Headers"] == "X-Message-ID"
    assert kept(ids(response)[0])


def test_a_generator_can_be_defined_inside_the_view(feedback, call):
    def view():
        @feedback.trace_message
        def generate(*, message_id):
            yield message_id

        return Response(stream_with_context(generate()))

    response = call(view)
    assert [response.text] == ids(response)


def test_a_stream_that_nobody_reads_can_be_rated(feedback, call, kept):
    stream = feedback.trace_message(generator)

    def view():
        stream().close()
        return "stopped"

    assert kept(ids(call(view))[0])


def test_a_body_can_be_generated_after_the_request_context_is_gone(feedback, call, kept):
    @feedback.trace_message(message_id="id")
    def generate():
        yield {"id": "late"}

    response = call(lambda: Response(str(item["id"]) for item in generate()))
    assert response.text == "late"
    assert ids(response) == []
    assert kept("late")


@pytest.mark.parametrize("function", ["generator", "async generator"])
def test_an_id_from_a_stream_is_stashed_before_its_first_item(
    feedback, call, kept, caplog, function
):
    seen = []

    if function == "generator":

        @feedback.trace_message(message_id="id")
        def stream():
            yield {"id": "s"}
            yield {"id": "other"}

        def view():
            for item in stream():
                seen.append((item["id"], bool(kept("s"))))
            return "done"
    else:

        @feedback.trace_message(message_id="id")
        async def stream():
            yield {"id": "s"}
            yield {"id": "other"}

        async def view():
            async for item in stream():
                seen.append((item["id"], bool(kept("s"))))
            return "done"

    call(view)
    assert seen == [("s", True), ("other", True)]
    assert kept("other") is None
    assert not caplog.records


def test_send_throw_and_return_go_through_a_followed_stream(feedback, call):
    @feedback.trace_message(message_id=lambda item: item)
    def stream():
        got = yield "first"
        try:
            yield got
        except KeyError:
            yield "caught"
        return "end"

    def view():
        running = stream()
        said = [next(running), running.send("sent"), running.throw(KeyError())]
        with pytest.raises(StopIteration) as stop:
            next(running)
        return {"said": [*said, stop.value.value]}

    assert call(view).json == {"said": ["first", "sent", "caught", "end"]}


def test_send_and_throw_go_through_a_followed_async_stream(feedback, call):
    @feedback.trace_message(message_id=lambda item: item)
    async def stream():
        got = yield "first"
        try:
            yield got
        except KeyError:
            yield "caught"

    async def view():
        running = stream()
        said = [
            await anext(running),
            await running.asend("sent"),
            await running.athrow(KeyError()),
        ]
        with pytest.raises(StopAsyncIteration):
            await anext(running)
        return {"said": said}

    assert call(view).json == {"said": ["first", "sent", "caught"]}


def test_an_error_in_a_recorded_stream_reaches_its_reader(feedback, call):
    @feedback.trace_message(message_id=lambda item: item)
    def stream():
        yield "first"
        raise ZeroDivisionError

    def view():
        with pytest.raises(ZeroDivisionError):
            list(stream())
        return "handled"

    assert call(view).text == "handled"


def test_a_stream_whose_first_item_has_no_id_is_not_a_message(feedback, call, caplog):
    @feedback.trace_message(message_id=lambda _: None)
    def stream():
        yield from ("first", "second")

    response = call(lambda: "".join(stream()))
    assert (response.text, ids(response)) == ("firstsecond", [])
    assert not caplog.records


def test_a_stream_that_was_not_kept_is_asked_for_nothing(app, feedback, caplog):
    """Here there is no agent, and so no trace ID."""
    stream = feedback.trace_message(context=lambda _: 1 / 0)(generator)
    with app.test_request_context():
        assert len(list(stream())) == 2
    assert [record.args for record in caplog.records if record.exc_info] == []
    assert "message_id" not in caplog.text
    assert all(map(is_quoted, caplog.messages))


def test_a_stream_that_was_kept_when_called_is_not_followed(feedback, call):
    traced = feedback.trace_message(generator)
    assert call(lambda: traced().gi_code.co_name).text == "generator"


@pytest.mark.parametrize("is_async", [False, True])
def test_a_stream_that_lacks_its_id_goes_on(feedback, call, caplog, is_async):
    @feedback.trace_message(message_id="ident")
    def stream():
        yield from ("first", "second")

    @feedback.trace_message(message_id="ident")
    async def async_stream():
        yield "first"
        yield "second"

    async def view():
        return [item async for item in async_stream()]

    assert call(view if is_async else lambda: list(stream())).json == ["first", "second"]
    [record] = caplog.records
    assert "names 'ident', and a str has no such key" in record.message
    assert not record.exc_info


def test_who_closes_a_followed_stream_closes_the_apps_own(feedback, call):
    @feedback.trace_message(message_id=lambda item: item)
    def stream():
        try:
            yield "first"
        finally:
            raise ZeroDivisionError  # which is lost if the garbage collector closes it

    def view():
        running = stream()
        next(running)
        with pytest.raises(ZeroDivisionError):
            running.close()
        return "closed"

    assert call(view).text == "closed"


def test_who_closes_a_followed_async_stream_closes_the_apps_own(feedback, call):
    closed = []

    @feedback.trace_message(message_id=lambda item: item)
    async def stream():
        try:
            yield "first"
        finally:
            await asyncio.sleep(0)
            closed.append("own")

    async def view():
        running = stream()
        await anext(running)
        await running.aclose()
        return [*closed, "view"]

    assert call(view).json == ["own", "view"]


TIMED = """
import asyncio, sys, time
import newrelic.agent
newrelic.agent.initialize()
from flask import Flask
from newrelic.core.agent import agent_instance
from feedback_blueprint import FeedbackBlueprint

@newrelic.agent.function_trace()
@(feedback := FeedbackBlueprint()).trace_message
def stream(seconds):
    time.sleep(seconds)  # the work that the agent is to time
    yield "a"

@newrelic.agent.function_trace()
@feedback.trace_message
async def stream_async(seconds):
    await asyncio.sleep(seconds)
    yield "a"

async def read(seconds):
    return [item async for item in stream_async(seconds)]

app = Flask("app", instance_path=sys.argv[1])
app.register_blueprint(feedback)
application = newrelic.agent.register_application("tests", timeout=20)
with app.app_context():
    list(stream(0))  # opens the store, which takes time as well
    with newrelic.agent.BackgroundTask(application, "chat"):
        list(stream(0.5))
        asyncio.run(read(0.5))
table = agent_instance().application("tests")._stats_engine.stats_table
for name in "stream", "stream_async":
    seconds = table[f"Function/__main__:{name}", ""].total_call_time
    assert 0.5 <= seconds < 5, (name, seconds)
"""


def test_the_agents_function_trace_above_the_decorator_times_the_whole_stream(tmp_path):
    """As it does with the function itself: it asks `inspect` for the kind of function."""
    done = subprocess.run(
        [sys.executable, "-c", TIMED, str(tmp_path)],
        env=environment({"NEW_RELIC_DEVELOPER_MODE": "true", "NEW_RELIC_APP_NAME": "tests"}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
