"""What is kept of a message beside its ID: its context, and its text if the app wants that."""

from __future__ import annotations

import pytest
from decorated import generator, id_given_to, ids, plain

from feedback_blueprint import FeedbackBlueprint


def test_context_goes_on_every_event(feedback, call, client, events):
    traced = feedback.trace_message(context={"model": "m-1", "temperature": 0.5})(plain)
    message_id = call(traced).json["message_id"]
    for rating in 1, 2:
        client.post("/feedback", json={"message_id": message_id, "rating": rating})
    client.delete(f"/feedback?message_id={message_id}")
    assert [event["rating"] for event in events] == [1, 2, "retracted"]
    assert [(event["model"], event["temperature"]) for event in events] == [("m-1", 0.5)] * 3


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


def test_context_holds_sixteen_entries(feedback, call, kept, caplog):
    response = call(lambda: feedback.stash(context={f"k{n}": n for n in range(20)}))
    assert len(kept(response.text).context) == 16
    assert "'k16': 'Over 16 entries" in caplog.text


def test_what_is_wrong_with_an_entry_is_said_of_one_too_many_too(feedback, call, caplog):
    call(lambda: feedback.stash(context={f"k{n}": n for n in range(16)} | {"nested": {}}) or "")
    assert "'nested': 'Use a string" in caplog.text


@pytest.mark.parametrize("function", [plain, generator])
def test_a_reserved_name_in_a_constant_context_is_left_out_and_logged(
    feedback, call, kept, caplog, function
):
    traced = feedback.trace_message(context={"rating": "evil", "model": "m"})(function)
    assert not caplog.records
    response = call(lambda: [id_given_to(traced), id_given_to(traced)])
    for message_id in response.json:
        assert kept(message_id).context == {"model": "m"}
    [record] = caplog.records
    assert "'rating'" in record.message


def test_by_hand_a_context_that_is_none_costs_itself_alone(feedback, call, kept, caplog):
    response = call(lambda: feedback.stash(context=["model"]))
    assert kept(response.text).context == {}
    assert "context" in caplog.text


@pytest.mark.parametrize(
    ("context", "error"),
    [(lambda result: result["missing"], "KeyError"), (lambda _: ["model"], "ValueError")],
)
def test_context_that_fails_costs_neither_answer_nor_rating(
    feedback, call, kept, caplog, context, error
):
    traced = feedback.trace_message(context=context)(plain)
    response = call(traced)
    assert kept(response.json["message_id"]).context == {}
    assert error in caplog.text
    assert "context= failed" in caplog.text


def test_a_message_may_have_no_context(feedback, call, kept, caplog):
    response = call(feedback.trace_message(context=lambda _: None)(plain))
    assert kept(response.json["message_id"]).context == {}
    assert not caplog.records


def test_content_is_not_asked_for_if_it_is_not_kept(feedback, call, caplog):
    response = call(feedback.trace_message(content=lambda _: 1 / 0)(plain))
    assert ids(response) == [response.json["message_id"]]
    assert not caplog.records


@pytest.fixture
def keeping(app, store_url):
    """A second blueprint on the app, which keeps the messages' text."""
    blueprint = FeedbackBlueprint("keeping", config_prefix="KEEPING_", url_prefix="/keeping")
    app.config.update(
        KEEPING_STORE_URL=store_url, KEEPING_STORE_TIMEOUT=2.0, KEEPING_STORE_MESSAGE=True
    )
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
def test_content_is_kept_if_configured(app, keeping, events, kept, function, content, expected):
    with app.test_request_context():
        keeping.trace_message(content=content)(function)()
        message = kept(keeping.message_id, keeping)
    assert message.content == expected


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("content", [None, lambda items: "/".join(items)])
def test_content_of_a_stream_is_what_was_read(app, keeping, events, kept, stopped, content):
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
        message = kept(keeping.message_id, keeping)
    assert message.content == ("/" if content else "").join(read)


@pytest.mark.parametrize("function", [plain, generator])
def test_content_that_fails_costs_neither_answer_nor_rating(
    app, keeping, events, kept, caplog, function
):
    traced = keeping.trace_message(content=lambda _: 1 / 0)(function)
    with app.test_request_context():
        assert kept(id_given_to(traced), keeping).content is None
    assert "content= failed" in caplog.text


def test_content_is_not_kept_by_default(feedback, call, kept):
    assert kept(ids(call(feedback.trace_message(lambda: "text")))[0]).content is None


@pytest.mark.parametrize(
    ("items", "expected"),
    [(["one", 2, "three"], "onethree"), ([1, {"two": 3}], None), (["half \ud800"], "half ?")],
)
def test_content_of_a_stream_is_its_strings(app, keeping, events, kept, caplog, items, expected):
    stream = keeping.trace_message(lambda: (yield from items))
    with app.test_request_context():
        assert list(stream()) == items
        assert kept(keeping.message_id, keeping).content == expected
    assert not caplog.records


def test_content_of_an_async_stream_is_kept_too(app, keeping, events, kept):
    @keeping.trace_message
    async def stream():
        yield "one"
        yield "two"

    async def read():
        return [item async for item in stream()]

    with app.test_request_context():
        assert app.ensure_sync(read)() == ["one", "two"]
        assert kept(keeping.message_id, keeping).content == "onetwo"


def test_content_of_a_stream_whose_first_item_has_its_id_is_kept(app, keeping, events, kept):
    stream = keeping.trace_message(message_id=lambda item: item)(lambda: (yield from "mno"))
    with app.test_request_context():
        assert list(stream()) == ["m", "n", "o"]
    assert kept("m", keeping).content == "mno"


def test_content_of_what_is_not_a_message_is_not_kept(app, keeping, events, caplog):
    stream = keeping.trace_message(message_id=lambda _: None)(generator)
    with app.test_request_context():
        assert list(stream("one")) == ["one", "!"]
    assert not caplog.records
