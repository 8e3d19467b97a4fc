"""The ID of a message: where it comes from, where it is announced, what it cannot be."""

from __future__ import annotations

import sqlite3
import threading
from collections import defaultdict
from types import SimpleNamespace
from typing import NamedTuple
from uuid import UUID

import pytest
from decorated import KINDS, id_given_to, ids, plain
from flask import Response, jsonify
from runbook import is_quoted


@pytest.mark.parametrize("function", KINDS)
def test_a_minted_id_is_passed_in_announced_and_rateable(feedback, call, client, function):
    response = call(lambda: {"id": id_given_to(feedback.trace_message(function))})
    [message_id] = ids(response)
    assert len(message_id) == 22
    assert response.json == {"id": message_id}
    assert response.headers["Access-Control-Expose-Headers"] == "X-Message-ID"
    answer = client.post("/feedback", json={"message_id": message_id, "rating": "good"})
    assert answer.status_code == 202


@pytest.mark.parametrize("function", KINDS)
@pytest.mark.parametrize("how", ["keyword", "position"])
def test_an_id_that_the_caller_passes_stands(feedback, call, function, how):
    args, kwargs = ((), {"message_id": "mine"}) if how == "keyword" else (("mine",), {})
    response = call(lambda: {"id": id_given_to(feedback.trace_message(function), *args, **kwargs)})
    assert response.json == {"id": "mine"}
    assert ids(response) == ["mine"]


def test_none_in_place_of_an_id_is_filled(feedback, call):
    response = call(lambda: {"id": id_given_to(feedback.trace_message(plain), None)})
    assert ids(response) == [response.json["id"]]
    beside = feedback.trace_message(lambda before, message_id, after: [before, message_id, after])
    response = call(lambda: beside(1, None, 2))
    assert response.json == [1, *ids(response), 2]


def test_a_function_that_takes_no_message_id_gets_none(feedback, call, kept):
    @feedback.trace_message
    def answer(prompt, **options):
        return f"{prompt}{options}"

    response = call(lambda: f"{answer('hi')} {feedback.message_id}")
    assert response.text == f"hi{{}} {ids(response)[0]}"
    assert kept(ids(response)[0])


def test_an_id_that_the_caller_passes_among_other_options_stands(feedback, call):
    traced = feedback.trace_message(lambda **options: options)
    response = call(lambda: traced(message_id="mine"))
    assert response.json == {"message_id": "mine"}
    assert ids(response) == ["mine"]


class Row(NamedTuple):
    text: str
    id: int


def sqlite_row():
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    return connection.execute("SELECT 'reply' AS text, 5 AS id").fetchone()


class Indexed:
    id = 7

    def __getitem__(self, key):
        raise KeyError(key)


class TextResponse(Response):
    id = 7


@pytest.mark.parametrize(
    ("message_id", "result", "expected"),
    [
        ("id", {"id": "a"}, "a"),
        ("id", {"id": 42}, "42"),
        ("id", {"id": UUID(int=1)}, str(UUID(int=1))),
        ("id", SimpleNamespace(id=7), "7"),
        ("id", Row("reply", 5), "5"),
        ("id", sqlite_row(), "5"),
        ("id", Indexed(), "7"),
        ("id", TextResponse("reply"), "7"),
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


def test_a_json_response_that_is_streamed_is_not_read_for_its_id(feedback, call):
    read = []

    def body():
        read.append("all")
        yield '{"id": 5}'

    def view():
        response = feedback.trace_message(message_id="id")(
            lambda: Response(body(), mimetype="application/json")
        )()
        assert not read
        return response

    response = call(view)
    assert response.json == {"id": 5}
    assert ids(response) == []


@pytest.mark.parametrize(
    "message_id", ["", " ", True, 1.5, b"x", "\ud800", "x" * 256, b"x" * 999, ["x" * 999], object()]
)
def test_an_id_that_cannot_be_used_is_refused_in_the_log(feedback, call, caplog, message_id):
    traced = feedback.trace_message(message_id=lambda _: message_id)(lambda: "reply")
    response = call(traced)
    assert response.text == "reply"
    assert ids(response) == []
    [line] = caplog.messages
    assert "cannot be used" in line
    assert len(line) < 200, "it may be a user's text"


@pytest.mark.parametrize("message_id", ["día", "a\nb", " a", "a ", "a,b", "a, b"])
def test_an_id_that_a_header_cannot_carry_is_kept_without_it(
    feedback, call, kept, caplog, message_id
):
    response = call(lambda: feedback.stash(message_id))
    assert "X-Message-ID" not in str(response.headers)
    assert kept(message_id)
    assert "leaves out 1 of the 1" in caplog.text


def test_there_is_no_id_if_nothing_was_stashed(app, feedback):
    with app.test_request_context():
        assert feedback.message_id is None
        feedback.capture()
        assert feedback.message_id is None
    with app.app_context():
        assert feedback.message_id is None


def test_none_for_an_id_means_not_a_message(feedback, call, caplog):
    traced = feedback.trace_message(message_id=lambda _: None)(lambda: "reply")
    assert ids(call(traced)) == []
    assert not caplog.records


def said(caplog):
    """The one line in the log, which has no traceback."""
    [record] = caplog.records
    assert not record.exc_info
    return record.message


@pytest.mark.parametrize("result", [{"id": 1}, defaultdict(int, id=1)])
def test_a_missing_key_is_named_in_the_log_and_stays_missing(feedback, call, caplog, result):
    traced = feedback.trace_message(message_id="ident")(lambda: result)
    assert call(traced).json == {"id": 1}
    assert f"names 'ident', and a {type(result).__name__} has no such key" in said(caplog)


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        ("reply", "str"),
        (b"reply", "bytes"),
        ([{"id": 1}], "list"),
        (({"id": 1}, {"id": 2}), "dict"),
        (Response("reply"), "Response"),
        (jsonify, "dict"),  # its body
        (("reply", 201), "str"),
        (SimpleNamespace(), "SimpleNamespace"),
        (7, "int"),
    ],
)
@pytest.mark.parametrize("is_stream", [False, True])
def test_what_can_have_no_id_is_named_in_the_log_with_what_to_do(
    feedback, call, caplog, result, kind, is_stream
):
    @feedback.trace_message(message_id="ident")
    def answer():
        return jsonify(id=5) if result is jsonify else result

    @feedback.trace_message(message_id="ident")
    def stream():
        yield jsonify(id=5) if result is jsonify else result

    response = call(lambda: str(len(list(stream()))) if is_stream else str(bool(answer())))
    assert response.text in ("True", "1")
    assert ids(response) == []
    text = said(caplog)
    name = "stream" if is_stream else "answer"
    assert f".{name}() is not kept: message_id= names 'ident', and a {kind} has no such" in text
    assert "leave it out: the blueprint then mints an ID" in text


def test_an_error_inside_of_an_attribute_is_logged_with_its_traceback(feedback, call, caplog):
    class Lazy:
        @property
        def id(self):
            return self.row.id

    assert call(lambda: str(bool(feedback.trace_message(message_id="id")(Lazy)()))).text == "True"
    [record] = caplog.records
    assert "message_id= failed" in record.message
    assert record.exc_info[1].name == "row"


def test_the_first_write_of_an_id_stands(feedback, call, kept, caplog):
    traced = feedback.trace_message(message_id="id")(lambda: {"id": "a"})
    assert ids(call(traced)) == ["a"]
    first = kept("a")
    assert ids(call(traced)) == []
    assert kept("a") == first
    [said] = caplog.messages
    assert "stashed before" in said
    assert "replace=True" in said, "how an answer is made again"
    assert is_quoted(said)


def test_every_message_of_a_request_is_announced(feedback, call):
    traced = feedback.trace_message(plain)
    response = call(lambda: [traced()["message_id"], traced()["message_id"], feedback.message_id])
    first, second, last = response.json
    assert ids(response) == [first, second]
    assert last == second


@pytest.mark.parametrize(
    ("made", "sent", "size"), [(64, 64, 3), (65, 64, 3), (20, 18, 200), (17, 16, 240)]
)
def test_a_response_announces_the_last_messages_that_a_client_can_take(
    feedback, call, caplog, made, sent, size
):
    response = call(lambda: [feedback.stash(f"{n:0{size}}") for n in range(made)])
    assert ids(response) == response.json[-sent:]
    assert [f"{made - sent} of the {made}" in each.message for each in caplog.records] == [
        True for _ in range(made > sent)
    ]


def test_a_request_does_not_announce_another_requests_messages(feedback, call, client):
    call(feedback.trace_message(lambda: "reply"))
    assert ids(client.get("/nowhere")) == []


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


def test_a_message_that_is_stashed_twice_is_announced_once(feedback, call):
    def view():
        capture = feedback.capture()
        return [capture.stash("m"), capture.stash("m")]

    answer = call(view)
    assert answer.json == ["m", "m"]
    assert answer.headers.getlist("X-Message-ID") == ["m"]
