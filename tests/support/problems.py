"""What a test expects of an answer that is a refusal."""

from __future__ import annotations

from http import HTTPStatus


def assert_refused(response, status, code):
    assert (response.status_code, response.json["code"]) == (status, code)
    assert response.mimetype == "application/problem+json"
    assert response.json["status"] == status
    assert response.json["type"] == "about:blank"
    assert response.json["title"] == HTTPStatus(status).phrase
    assert response.json["detail"]
