"""An agent that is set to keep less of a value than a vote may hold."""

from __future__ import annotations

import pytest
from chatting import comment_of

from feedback_blueprint.agent.new_relic import AgentLimits

NAMES = [f"name{number}" for number in range(16)]


@pytest.mark.parametrize(
    ("limit", "fields", "status"),
    [
        (100, {"message": "x" * 300}, 202),
        (100, {"message": "x" * 4095}, 202),
        (100, {"message": "x" * 3900, "metadata": dict.fromkeys(NAMES, 1)}, 202),
        (100, {"message": "x" * 3901, "metadata": dict.fromkeys(NAMES, 1)}, 503),
        (100, {"rating": "x" * 100, "message": ""}, 202),
        (100, {"rating": "x" * 101}, 503),
        (100, {"category": "x" * 101}, 503),
        (100, {"metadata": {"a": "x" * 101}}, 503),
        (31, {}, 503),
        (32, {"message": "x"}, 202),
        (3, {"message": "👍"}, 503),
        (4095, {"message": "x" * 4095}, 202),
    ],
)
def test_an_agent_that_would_cut_a_vote_is_named(
    app, post, events, monkeypatch, caplog, limit, fields, status
):
    [votes] = app.extensions["feedback_blueprint"].values()
    monkeypatch.setattr(votes.agent, "limits", lambda: AgentLimits(limit))
    response = post(**fields)
    assert response.status_code == status
    if status == 503:
        assert "max_attribute_value" in caplog.text
        assert events == []
    else:
        [event] = events
        assert comment_of({"message": ""} | event) == fields["message"]


@pytest.mark.parametrize(
    "kept", [{"context": {"model": "x" * 101}}, {"trace_id": "x" * 101}, {"message_id": "x" * 101}]
)
def test_an_agent_that_would_cut_what_is_kept_of_a_message_is_named(
    app, feedback, client, events, monkeypatch, kept
):
    [votes] = app.extensions["feedback_blueprint"].values()
    trace_id = kept.get("trace_id", "f" * 32)
    monkeypatch.setattr(votes.agent, "trace_id", lambda: trace_id)
    with app.test_request_context():
        message_id = feedback.stash(kept.get("message_id"), context=kept.get("context"))
    monkeypatch.setattr(votes.agent, "limits", lambda: AgentLimits(100))
    body = {"message_id": message_id, "rating": "good"}
    assert client.post("/feedback", json=body).status_code == 503
    assert client.delete("/feedback", query_string=body).status_code == 503
    unknown = body | {"message_id": "never made"}
    assert client.post("/feedback", json=unknown).status_code == 404
    monkeypatch.setattr(votes.agent, "limits", lambda: AgentLimits(101))
    assert client.post("/feedback", json=body).json["revision"] == 1
