"""What a test expects of an answer that is a refusal."""

from __future__ import annotations


def refused(response, status, code):
    assert (response.status_code, response.json["code"]) == (status, code)
    assert response.mimetype == "application/problem+json"
    assert response.json["status"] == status
    assert {"type", "title", "detail"} < response.json.keys()
    return True
