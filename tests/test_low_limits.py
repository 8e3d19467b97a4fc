"""An agent that is set to keep less of a value than a vote may hold."""

from __future__ import annotations

import pytest

from feedback_blueprint.telemetry import Limits

NAMES = [f"name{number}" for number in range(16)]


@pytest.mark.parametrize(
    ("limit", "fields", "status"),
    [
        (100, {"message": "x" * 300}, 202),
        (100, {"message": "x" * 4095}, 503),
        (100, {"message": "x" * 3700}, 202),
        (100, {"message": "x" * 3701}, 503),
        (100, {"message": "x" * 2100, "metadata": dict.fromkeys(NAMES, 1)}, 202),
        (100, {"message": "x" * 2101, "metadata": dict.fromkeys(NAMES, 1)}, 503),
        (100, {"rating": "x" * 100, "message": ""}, 202),
        (100, {"rating": "x" * 101}, 503),
        (100, {"category": "x" * 101}, 503),
        (100, {"message_id": "x" * 101}, 503),
        (100, {"metadata": {"a": "x" * 101}}, 503),
        (31, {}, 503),
        (32, {"message": "x"}, 202),
        (2, {"message": "👍"}, 503),
        (4095, {"message": "x" * 4095}, 202),
    ],
)
def test_an_agent_that_would_cut_a_vote_is_named(
    app, post, events, monkeypatch, limit, fields, status
):
    [votes] = app.extensions["feedback_blueprint"].values()
    monkeypatch.setattr(votes.agent, "limits", lambda: Limits(limit))
    response = post(**fields)
    assert response.status_code == status
    if status == 503:
        assert "max_attribute_value" in response.json["detail"]
        assert events == []
    else:
        comment = "".join(str(events[0].get(f"message_{n}", "")) for n in range(2, 60))
        assert events[0].get("message", "") + comment == fields["message"]
