"""An answer that is made again under the ID it had: `replace=True`."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from decorated import KINDS, collect, id_given_to, ids
from flask import request
from host_app import make_app

from feedback_blueprint import FeedbackBlueprint
from feedback_blueprint.testing import capture_feedback


def rate(client, rating="good", **headers):
    body = {"message_id": "m", "rating": rating}
    return client.post("/feedback", json=body, headers=headers)


def standing(client):
    return client.get("/feedback?message_id=m").json


def by_stash(feedback):
    return lambda: feedback.stash("m", context={"n": 1}, content="text", replace=True)


def by_capture(feedback):
    def view():
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(feedback.capture().stash, "m", replace=True).result()

    return view


def by_decorator(kind, **options):
    def make(feedback):
        traced = feedback.trace_message(replace=True, **options)(kind)
        return lambda: str(id_given_to(traced, "m"))

    return make


WAYS = {
    "stash": by_stash,
    "capture": by_capture,
    **{kind.__name__: by_decorator(kind) for kind in KINDS},
    **{f"{kind.__name__} by ID": by_decorator(kind, message_id=lambda _: "m") for kind in KINDS},
}


@pytest.mark.parametrize("way", WAYS)
def test_an_answer_that_is_made_again_is_a_new_message(feedback, call, client, events, caplog, way):
    view = WAYS[way](feedback)
    receipts = []
    for _ in range(3):
        assert ids(call(view)) == ["m"]
        assert standing(client) == {"feedback": [], "rateable": ["m"]}
        receipts.append(rate(client).json)
        assert standing(client)["feedback"][0]["rating"] == "good"
    assert [receipt["revision"] for receipt in receipts] == [1, 1, 1]
    assert len({receipt["feedback_id"] for receipt in receipts}) == 3
    assert len({event["trace_id"] for event in events}) == 3
    assert not caplog.records


def test_of_one_trace_too_it_is_a_new_message(app, feedback, client, events, monkeypatch):
    [votes] = app.extensions["feedback_blueprint"].values()
    monkeypatch.setattr(votes.agent, "trace_id", lambda: "f" * 32)
    found = []
    for _ in range(3):
        with app.test_request_context():
            assert feedback.stash("m", replace=True) == "m"
        found.append(rate(client).json["feedback_id"])
        assert standing(client)["feedback"][0]["feedback_id"] == found[-1]
        assert rate(client, "bad").json["feedback_id"] == found[-1]
    assert len(set(found)) == 3
    assert [event["revision"] for event in events] == [1, 2] * 3


def test_an_answer_that_was_first_kept_without_it_is_replaced(feedback, call, kept, client):
    call(lambda: feedback.stash("m"))
    first = rate(client).json
    assert kept("m").nonce == b""
    assert call(lambda: str(feedback.stash("m"))).text == "None"
    call(lambda: feedback.stash("m", replace=True, context={"n": 2}))
    assert kept("m").context == {"n": 2}
    second = rate(client).json
    assert second["revision"] == first["revision"] == 1
    assert second["feedback_id"] != first["feedback_id"]


@pytest.fixture
def site(new_store_url):
    """An app whose raters say who they are."""
    feedback = FeedbackBlueprint(rater=lambda: request.headers.get("User"))
    app = make_app(
        feedback,
        FEEDBACK_STORE_URL=new_store_url("redis"),
        FEEDBACK_STORE_TIMEOUT=2.0,
        SECRET_KEY="old",
    )
    app.feedback = feedback
    app.get("/chat")(lambda: str(feedback.stash("m", replace=True)))
    with capture_feedback(app):
        yield app


def chat(app, user):
    return app.test_client().get("/chat", headers={"User": user} if user else {}).text


def test_another_raters_message_is_left_alone_and_the_log_says_what_to_do(site, caplog):
    client = site.test_client()
    assert chat(site, "ann") == "m"
    assert rate(client, User="ann").status_code == 202
    for other in "bob", None:
        assert chat(site, other) == "None"
    [warning] = caplog.messages
    assert "'m'" in warning
    assert "another rater" in warning
    assert "use another ID" in warning
    assert rate(client, User="ann").status_code == 200
    assert rate(client, User="bob").status_code == 404


def test_a_message_made_under_an_earlier_key_is_replaced_by_its_rater(site):
    assert chat(site, "ann") == "m"
    feedback = FeedbackBlueprint(rater=lambda: request.headers.get("User"))
    config = {"FEEDBACK_STORE_URL": site.config["FEEDBACK_STORE_URL"], "SECRET_KEY": "new"}
    stranger, heir = (
        make_app(feedback, **config, SECRET_KEY_FALLBACKS=fallbacks) for fallbacks in ([], ["old"])
    )
    for app in stranger, heir:
        app.get("/chat")(lambda: str(feedback.stash("m", replace=True)))
    with capture_feedback(stranger), capture_feedback(heir):
        assert chat(stranger, "ann") == "None"
        assert chat(heir, "ann") == "m"
        assert rate(stranger.test_client(), User="ann").status_code == 202, "it has the new key"
    assert rate(site.test_client(), User="ann").status_code == 404


def test_a_job_replaces_a_message_of_the_rater_it_names(site):
    assert chat(site, "ann") == "m"
    feedback = site.feedback
    with site.app_context():
        assert feedback.stash("m", replace=True, rater="bob") is None
        assert feedback.capture().stash("m", replace=True, rater="ann") == "m"


@pytest.mark.parametrize("minted", [True, False])
@pytest.mark.parametrize("kind", ["generator", "async generator"])
def test_a_stream_whose_message_was_replaced_meanwhile_changes_nothing_of_the_new_one(
    app, feedback, call, kept, kind, minted
):
    [votes] = app.extensions["feedback_blueprint"].values()
    votes.settings = votes.settings._replace(store_message=True)
    options = {"context": lambda item: {"item": item}} | (
        {} if minted else {"message_id": lambda _: "m"}
    )
    decorate = feedback.trace_message(replace=True, **options)

    def replaced():
        return feedback.stash("m", context={"item": "new"}, content="new", replace=True)

    if kind == "generator":

        @decorate
        def stream(message_id="m"):
            if minted:
                replaced()
            yield "old"
            if not minted:
                replaced()

        call(lambda: "".join(stream(message_id="m")))
    else:

        @decorate
        async def stream(message_id="m"):
            if minted:
                replaced()
            yield "old"
            if not minted:
                replaced()

        call(lambda: asyncio.run(collect(stream(message_id="m"))))
    assert kept("m").context == {"item": "new"}
    assert kept("m").content == "new"


@pytest.mark.parametrize("function", KINDS)
def test_each_id_from_a_stream_or_a_result_is_replaced(feedback, call, kept, function):
    """With the text that it has, too."""
    traced = feedback.trace_message(message_id=lambda _: "m", replace=True)(function)
    nonces = set()
    for _ in range(2):
        assert ids(call(lambda: str(id_given_to(traced)))) == ["m"]
        nonces.add(kept("m").nonce)
    assert len(nonces) == 2
