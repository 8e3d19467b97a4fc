"""The decorator: what it stashes, what it leaves alone, and that it never gets in the way."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from uuid import UUID

import pytest
from flask import Flask, Response, jsonify, redirect, stream_with_context
from werkzeug.exceptions import NotFound

from feedback_blueprint import ConfigurationError, FeedbackBlueprint
from feedback_blueprint.errors import StoreUnavailable
from feedback_blueprint.testing import capture_feedback


@pytest.fixture
def store_url(new_store_url):
    """One store is enough here: what differs between stores is in test_stores.py."""
    return new_store_url("sqlite")


@pytest.fixture
def call(app, events, client):
    """Call a function as a view and return the response."""
    views = []
    app.add_url_rule("/view", "view", lambda: app.ensure_sync(views[-1])())

    def call(view):
        views.append(view)
        return client.get("/view")

    return call


@pytest.fixture
def kept(app, feedback):
    """Ask for what the store holds of a message."""

    def kept(message_id):
        votes = app.extensions["feedback_blueprint"][feedback]
        standing = votes._store.read([f"fb:{message_id}"], [b""])[0]
        return standing and standing.message

    return kept


def ids(response):
    return response.headers.getlist("X-Message-ID")


def plain(message_id="", extra=1):
    """Plain."""
    return {"message_id": message_id}


async def coroutine(message_id="", extra=1):
    """Async."""
    return {"message_id": message_id}


def generator(message_id="", extra=1):
    """Stream."""
    yield message_id
    yield "!"


async def async_generator(message_id="", extra=1):
    """Async stream."""
    yield message_id
    yield "!"


KINDS = [plain, coroutine, generator, async_generator]


async def collect(stream):
    return [item async for item in stream]


def run(function, *args, **kwargs):
    """Call a function of any kind and return its result, of a stream the first item."""
    result = function(*args, **kwargs)
    if inspect.iscoroutine(result):
        return asyncio.run(result)["message_id"]
    if inspect.isasyncgen(result):
        return asyncio.run(collect(result))[0]
    if inspect.isgenerator(result):
        return next(iter(list(result)))
    return result["message_id"]


@pytest.mark.parametrize("function", KINDS)
def test_a_function_stays_what_it_was(feedback, function):
    traced = feedback.trace_message(function)
    for question in (
        inspect.isfunction,
        inspect.iscoroutinefunction,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
    ):
        assert question(traced) == question(function)
    assert inspect.signature(traced) == inspect.signature(function)
    assert traced.__name__ == function.__name__
    assert traced.__doc__ == function.__doc__
    assert inspect.unwrap(traced) is function


@pytest.mark.parametrize("function", KINDS)
def test_a_minted_id_is_passed_in_announced_and_rateable(feedback, call, client, kept, function):
    response = call(lambda: {"id": run(feedback.trace_message(function))})
    [message_id] = ids(response)
    assert len(message_id) == 22
    assert response.json == {"id": message_id}
    assert response.headers["Access-Control-Expose-Headers"] == "X-Message-ID"
    answer = client.post("/feedback", json={"message_id": message_id, "rating": "good"})
    assert answer.status_code == 202


@pytest.mark.parametrize("function", KINDS)
@pytest.mark.parametrize("how", ["keyword", "position"])
def test_an_id_that_the_caller_passes_stands(feedback, call, kept, function, how):
    args, kwargs = ((), {"message_id": "mine"}) if how == "keyword" else (("mine",), {})
    response = call(lambda: {"id": run(feedback.trace_message(function), *args, **kwargs)})
    assert response.json == {"id": "mine"}
    assert ids(response) == ["mine"]


def test_none_in_place_of_an_id_is_filled(feedback, call):
    response = call(lambda: {"id": run(feedback.trace_message(plain), None)})
    assert ids(response) == [response.json["id"]]


def test_a_function_that_takes_no_message_id_gets_none(feedback, call, kept):
    @feedback.trace_message
    def answer(prompt, **options):
        return f"{prompt}{options}"

    response = call(lambda: f"{answer('hi')} {feedback.message_id}")
    assert response.text == f"hi{{}} {ids(response)[0]}"
    assert kept(ids(response)[0])


def test_methods_are_decorated_too(feedback, call):
    class Bot:
        @feedback.trace_message
        def answer(self, *, message_id):
            return message_id

        @feedback.trace_message
        def stream(self, *, message_id):
            yield message_id

    response = call(lambda: Bot().answer() + "".join(Bot().stream()))
    assert response.text == "".join(ids(response))
    assert len(ids(response)) == 2


class Row:
    id = 7


@pytest.mark.parametrize(
    ("message_id", "result", "expected"),
    [
        ("id", {"id": "a"}, "a"),
        ("id", {"id": 42}, "42"),
        ("id", {"id": UUID(int=1)}, str(UUID(int=1))),
        ("id", Row(), "7"),
        ("id", ({"id": "a"}, 201), "a"),
        (lambda result: result["deep"]["id"], {"deep": {"id": "a"}}, "a"),
    ],
)
def test_an_id_is_taken_from_the_result(feedback, call, kept, message_id, result, expected):
    traced = feedback.trace_message(message_id=message_id)(lambda: result)
    response = call(lambda: str(traced() is result))
    assert response.text == "True"
    assert ids(response) == [expected]
    assert kept(expected)


def test_an_id_is_taken_from_a_json_response(feedback, call):
    traced = feedback.trace_message(message_id="id")(lambda: jsonify(id=5))
    assert ids(call(traced)) == ["5"]


@pytest.mark.parametrize("message_id", ["", "  ", True, 1.5, b"x", "\ud800", "x" * 256, object()])
def test_an_id_that_cannot_be_used_is_refused_in_the_log(feedback, call, caplog, message_id):
    traced = feedback.trace_message(message_id=lambda _: message_id)(lambda: "reply")
    response = call(traced)
    assert response.text == "reply"
    assert ids(response) == []
    assert "cannot be used" in caplog.text


def test_an_id_that_a_header_cannot_carry_is_kept_without_it(feedback, call, kept):
    response = call(lambda: feedback.stash("día\n"))
    assert ids(response) == []
    assert kept("día\n")


def test_none_for_an_id_means_not_a_message(feedback, call, caplog):
    traced = feedback.trace_message(message_id=lambda _: None)(lambda: "reply")
    assert ids(call(traced)) == []
    assert not caplog.records


def test_a_missing_key_is_named_in_the_log(feedback, call, caplog):
    traced = feedback.trace_message(message_id="ident")(lambda: {"id": 1})
    assert call(traced).json == {"id": 1}
    assert "ident" in caplog.text


def test_the_first_write_of_an_id_stands(feedback, call, kept, caplog):
    traced = feedback.trace_message(message_id="id")(lambda: {"id": "a"})
    assert ids(call(traced)) == ["a"]
    first = kept("a")
    assert ids(call(traced)) == []
    assert kept("a") == first
    assert "stashed before" in caplog.text


@pytest.mark.parametrize(
    "result",
    [
        None,
        ("sorry", 500),
        ("sorry", "429 TOO MANY REQUESTS", {"Retry-After": "1"}),
        Response("sorry", 400),
        (Response("sorry", 503), {"X-A": "b"}),
        NotFound(),
    ],
)
def test_an_apology_is_not_a_message(feedback, call, result):
    traced = feedback.trace_message(lambda: result)
    assert ids(call(lambda: traced() or "nothing")) == []


@pytest.mark.parametrize(
    "result",
    [
        "reply",
        ("reply", 201),
        ("reply", {"X-A": "b"}),
        ("reply", "200 OK", {"X-A": "b"}),
        Response("reply"),
        (Response("reply"), 299),
    ],
)
def test_what_a_view_returns_is_a_message(feedback, call, result):
    response = call(feedback.trace_message(lambda: result))
    assert len(ids(response)) == 1
    assert response.text == "reply"


@pytest.mark.parametrize("beside", ["gpt-4o", "", 12, 512, 0.5, None, True, ["a"]])
def test_a_second_result_that_is_no_status_does_not_matter(feedback, call, beside):
    traced = feedback.trace_message(lambda: ("reply", beside))
    assert len(ids(call(lambda: traced()[0]))) == 1


def test_a_redirect_is_a_message_too(feedback, call):
    assert len(ids(call(feedback.trace_message(lambda: redirect("/done"))))) == 1


@pytest.mark.parametrize("function", [plain, coroutine])
def test_an_exception_is_the_callers_and_not_a_message(feedback, call, function):
    @feedback.trace_message
    def answer():
        raise ZeroDivisionError

    def view():
        with pytest.raises(ZeroDivisionError):
            answer()
        return "handled"

    assert ids(call(view)) == []


def test_every_message_of_a_request_is_announced(feedback, call):
    traced = feedback.trace_message(plain)
    response = call(lambda: {"ids": [traced()["message_id"], traced()["message_id"]]})
    assert ids(response) == response.json["ids"]


def test_a_request_does_not_announce_another_requests_messages(feedback, call, client):
    call(feedback.trace_message(lambda: "reply"))
    assert ids(client.get("/nowhere")) == []


# Streams


def test_a_stream_is_stashed_when_called_and_handed_through(feedback, call, kept):
    stream = feedback.trace_message(generator)
    response = call(lambda: Response(stream()))
    assert response.text == f"{ids(response)[0]}!"
    assert kept(ids(response)[0])


def test_a_generator_defined_inside_the_view(feedback, call):
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


def test_a_body_generated_after_the_request_context_is_gone(feedback, call, kept):
    @feedback.trace_message(message_id="id")
    def generate():
        yield {"id": "late"}

    response = call(lambda: Response(str(item["id"]) for item in generate()))
    assert response.text == "late"
    assert ids(response) == []
    assert kept("late")


@pytest.mark.parametrize("function", ["generator", "async generator"])
def test_an_id_from_a_stream_is_stashed_before_its_first_item(feedback, call, kept, function):
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


@pytest.mark.parametrize("kind", ["generator", "async generator"])
def test_closing_a_followed_stream_closes_it(feedback, call, kind):
    closed = []

    if kind == "generator":

        @feedback.trace_message(message_id=lambda item: item)
        def stream():
            try:
                yield "first"
            finally:
                closed.append(True)

        def view():
            running = stream()
            next(running)
            running.close()
            return "done"
    else:

        @feedback.trace_message(message_id=lambda item: item)
        async def stream():
            try:
                yield "first"
            finally:
                closed.append(True)

        async def view():
            running = stream()
            await anext(running)
            await running.aclose()
            return "done"

    call(view)
    assert closed == [True]


def test_an_error_in_a_followed_stream_is_the_readers(feedback, call):
    @feedback.trace_message(message_id=lambda item: item)
    def stream():
        yield "first"
        raise ZeroDivisionError

    def view():
        with pytest.raises(ZeroDivisionError):
            list(stream())
        return "handled"

    assert call(view).text == "handled"


# Context and content


def test_context_goes_on_the_event(feedback, call, client, events):
    traced = feedback.trace_message(context={"model": "m-1", "temperature": 0.5})(plain)
    message_id = call(traced).json["message_id"]
    client.post("/feedback", json={"message_id": message_id, "rating": 1})
    assert events[0]["model"] == "m-1"
    assert events[0]["temperature"] == 0.5


def test_context_is_taken_from_the_result(feedback, call, kept):
    traced = feedback.trace_message(context=lambda result: {"length": len(result)})(lambda: "four")
    assert kept(ids(call(traced))[0]).context == {"length": 4}


@pytest.mark.parametrize("message_id", [None, lambda item: item["id"]])
def test_context_is_taken_from_the_first_item_of_a_stream(feedback, call, kept, message_id):
    @feedback.trace_message(message_id=message_id, context=lambda item: {"model": item["model"]})
    def stream():
        yield {"id": "s", "model": "m"}
        yield {"id": "s", "model": "other"}

    def view():
        list(stream())
        return feedback.message_id

    assert kept(call(view).text).context == {"model": "m"}


def test_what_context_cannot_hold_is_left_out_and_logged(feedback, call, kept, caplog):
    bad = {"ok": 1, "nested": {}, "timestamp": 12, "nan": float("nan"), "bad name": 1}
    bad |= {"long": "x" * 256, "surrogate": "\ud800", "big": 2**63, 5: 5}
    response = call(lambda: feedback.stash(context=bad))
    assert kept(response.text).context == {"ok": 1}
    assert "timestamp" in caplog.text


def test_context_holds_sixteen_entries(feedback, call, kept):
    response = call(lambda: feedback.stash(context={f"k{n}": n for n in range(20)}))
    assert len(kept(response.text).context) == 16


def test_context_that_fails_costs_neither_answer_nor_rating(feedback, call, kept, caplog):
    traced = feedback.trace_message(context=lambda result: result["missing"])(plain)
    response = call(traced)
    assert kept(response.json["message_id"]).context == {}
    assert "KeyError" in caplog.text


@pytest.mark.parametrize(
    "context", [{"rating": 1}, {"a": []}, {f"k{n}": n for n in range(17)}, "model", 5]
)
def test_constant_context_is_checked_when_decorating(feedback, context):
    with pytest.raises(ConfigurationError, match="context"):
        feedback.trace_message(context=context)


@pytest.mark.parametrize("message_id", ["", 5, {}])
def test_a_message_id_that_names_nothing_is_refused_when_decorating(feedback, message_id):
    with pytest.raises(ConfigurationError, match="message_id"):
        feedback.trace_message(message_id=message_id)


def test_an_argument_without_its_name_is_refused_when_decorating(feedback):
    with pytest.raises(ConfigurationError, match="message_id="):
        feedback.trace_message("id")


def test_content_that_is_no_function_is_refused_when_decorating(feedback):
    with pytest.raises(ConfigurationError, match="content"):
        feedback.trace_message(content="text")


@pytest.fixture
def keeping(app, store_url):
    """A second blueprint on the app, which keeps the messages' text."""
    blueprint = FeedbackBlueprint("keeping", config_prefix="KEEPING_", url_prefix="/keeping")
    app.config.update(KEEPING_STORE_URL=store_url, KEEPING_STORE_MESSAGE=True)
    app.register_blueprint(blueprint)
    return blueprint


@pytest.mark.parametrize(
    ("function", "content", "expected"),
    [
        (lambda: "text", None, "text"),
        (lambda: {"reply": "text"}, lambda result: result["reply"], "text"),
        (lambda: {"reply": "text"}, None, None),
        (lambda: "half \ud800", None, "half ?"),
    ],
)
def test_content_is_kept_where_configured(
    app, keeping, events, client, kept, function, content, expected
):
    with app.test_request_context():
        keeping.trace_message(content=content)(function)()
        votes = app.extensions["feedback_blueprint"][keeping]
        standing = votes._store.read([f"fb:keeping:{keeping.message_id}"], [b""])[0]
    assert standing.message.content == expected


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("content", [None, lambda items: "/".join(items)])
def test_content_of_a_stream_is_what_was_read(app, keeping, events, stopped, content):
    @keeping.trace_message(content=content)
    def stream():
        yield "one"
        yield "two"
        yield "three"

    with app.test_request_context():
        running = stream()
        read = [next(running), next(running)]
        if stopped:
            running.close()
        else:
            read += list(running)
        votes = app.extensions["feedback_blueprint"][keeping]
        standing = votes._store.read([f"fb:keeping:{keeping.message_id}"], [b""])[0]
    assert standing.message.content == ("/" if content else "").join(read)


def test_content_is_not_kept_by_default(feedback, call, kept):
    assert kept(ids(call(feedback.trace_message(lambda: "text")))[0]).content is None


# By hand


def test_stash_returns_the_id(feedback, call, kept):
    response = call(lambda: feedback.stash(UUID(int=5), context={"a": 1}))
    assert response.text == str(UUID(int=5))
    assert kept(response.text).context == {"a": 1}
    assert ids(response) == [response.text]


def test_a_worker_thread_stashes_what_was_captured(feedback, call, kept):
    done = []

    def view():
        capture = feedback.capture()
        thread = threading.Thread(target=lambda: done.append(capture.stash("late")))
        thread.start()
        thread.join()
        return "accepted"

    assert ids(call(view)) == ["late"]
    assert done == ["late"]
    assert kept("late")


# Nothing that goes wrong here reaches the answer


@pytest.mark.parametrize("function", KINDS)
def test_without_a_trace_id_the_answer_is_untouched(app, feedback, client, caplog, function):
    app.get("/x")(lambda: {"id": run(feedback.trace_message(function))})
    response = client.get("/x")
    assert len(response.json["id"]) == 22
    assert ids(response) == []
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "newrelic-admin" in record.message, "the log names the remedy"


class BrokenStore:
    def part_of(self, _):
        return ""

    def stash(self, *_):
        raise StoreUnavailable("Gone.")


class BuggyStore:
    def part_of(self, _):
        return ""

    def stash(self, *_):
        raise ZeroDivisionError


@pytest.mark.parametrize("store", [BrokenStore(), BuggyStore()])
@pytest.mark.parametrize("function", KINDS)
def test_without_a_store_the_answer_is_untouched(store, function, caplog):
    feedback, app = FeedbackBlueprint(store=store), Flask(__name__)
    app.register_blueprint(feedback)
    app.get("/x")(lambda: {"id": run(feedback.trace_message(function))})
    with capture_feedback(app):
        response = app.test_client().get("/x")
    assert len(response.json["id"]) == 22
    assert ids(response) == []
    assert caplog.records


@pytest.mark.parametrize("store", [BrokenStore(), BuggyStore()])
def test_without_a_store_stashing_by_hand_returns_none(store, caplog):
    feedback, app = FeedbackBlueprint(store=store), Flask(__name__)
    app.register_blueprint(feedback)
    with capture_feedback(app), app.app_context():
        assert feedback.stash() is None
    assert caplog.records


def test_on_an_app_without_the_blueprint_the_answer_is_untouched(feedback, caplog):
    other = Flask(__name__)
    other.get("/x")(feedback.trace_message(lambda: "reply"))
    assert other.test_client().get("/x").text == "reply"
    assert "register_blueprint" in caplog.text


@pytest.mark.parametrize("function", KINDS)
def test_without_any_app_the_answer_is_untouched_and_one_line_names_the_remedy(function, caplog):
    traced = FeedbackBlueprint().trace_message(function)
    for _ in range(3):
        assert run(traced)
    [record] = caplog.records
    assert function.__name__ in record.message
    assert "capture()" in caplog.text


@pytest.mark.parametrize("rater", [lambda: 1 / 0, lambda: 5])
def test_a_rater_that_fails_costs_no_answer(store_url, rater, caplog):
    feedback, app = FeedbackBlueprint(rater=rater), Flask(__name__)
    app.config.update(FEEDBACK_STORE_URL=store_url, SECRET_KEY="k")
    app.register_blueprint(feedback)
    app.get("/x")(feedback.trace_message(lambda: "reply"))
    with capture_feedback(app):
        response = app.test_client().get("/x")
    assert response.text == "reply"
    assert ids(response) == [], "nobody owns it, and it must not be everybody's"
    assert "rater" in caplog.text
