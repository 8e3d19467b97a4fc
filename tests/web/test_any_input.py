"""Whatever JSON can hold, and whatever bytes: recorded whole, or refused."""

from __future__ import annotations

import json
import math

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

text = st.text(st.characters(exclude_categories=()), max_size=300)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | text
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3)
)
bodies = json_values | st.fixed_dictionaries(
    {"message_id": st.just("m") | json_values, "rating": scalars},
    optional={
        "category": scalars,
        "message": st.none() | text,
        "metadata": st.dictionaries(text | st.from_regex(r"[a-z]{1,5}", fullmatch=True), scalars),
        "other": json_values,
    },
)


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(body=bodies)
def test_whatever_is_sent_is_recorded_whole_or_refused(app, client, events, feedback, body):
    with app.test_request_context():
        message_id = feedback.stash()
    if isinstance(body, dict) and body.get("message_id") == "m":
        body = body | {"message_id": message_id}
    events.clear()
    response = client.post("/feedback", data=json.dumps(body), content_type="application/json")
    assert response.status_code in (200, 202, 400, 404, 422)
    assert len(events) == (response.status_code == 202)
    for event in events:
        assert event["trace_id"]
        assert event["rating"] == body["rating"]
        for value in event.values():
            if isinstance(value, str):
                assert len(value.encode()) <= 255
            elif isinstance(value, float):
                assert math.isfinite(value)
            else:
                assert -(2**63) <= value < 2**63


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=200))
def test_whatever_bytes_are_sent_are_refused(client, events, raw):
    response = client.post("/feedback", data=raw, content_type="application/json")
    assert response.status_code in (400, 422)
