"""Other extensions on the same app: Flask-Limiter, Flask-CORS, Flask-WTF's CSRF protection."""

from __future__ import annotations

from flask_cors import CORS
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_wtf.csrf import CSRFProtect, generate_csrf


def test_flask_limiter_limits_the_blueprint_alone(app, feedback, events):
    limiter = Limiter(get_remote_address, app=app, storage_uri="memory://")
    limiter.limit("2/minute")(feedback)
    client = app.test_client()
    body = {"message_id": client.get("/chat").json["message_id"], "rating": 1}
    answers = [client.post("/feedback", json=body | {"rating": n}) for n in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert client.get("/chat").status_code == 200
    assert len(events) == 2


def test_flask_cors_lets_another_origin_vote_and_read_the_message_id(app, events):
    CORS(app, origins="https://front.example", expose_headers=["X-Other"])
    client, headers = app.test_client(), {"Origin": "https://front.example"}
    chat = client.get("/chat", headers=headers)
    exposed = ",".join(chat.headers.getlist("Access-Control-Expose-Headers"))
    assert {name.strip() for name in exposed.split(",")} == {"X-Other", "X-Message-ID"}
    preflight = client.options(
        "/feedback",
        headers=headers
        | {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type, x-feedback-rater",
        },
    )
    assert preflight.headers["Access-Control-Allow-Origin"] == "https://front.example"
    allowed = preflight.headers["Access-Control-Allow-Headers"].lower()
    assert set(allowed.split(", ")) == {"content-type", "x-feedback-rater"}
    body = {"message_id": chat.json["message_id"], "rating": 1}
    answer = client.post("/feedback", json=body, headers=headers)
    assert answer.status_code == 202
    assert answer.headers["Access-Control-Allow-Origin"] == "https://front.example"


def test_flask_wtf_wants_its_token_for_votes_too(app, events):
    app.config["SECRET_KEY"] = "k"
    CSRFProtect(app)
    app.get("/token")(lambda: generate_csrf())
    client = app.test_client()
    body = {"message_id": client.get("/chat").json["message_id"], "rating": 1}
    assert client.post("/feedback", json=body).status_code == 400
    token = {"X-CSRFToken": client.get("/token").text}
    assert client.post("/feedback", json=body, headers=token).status_code == 202


def test_flask_wtf_can_exempt_the_blueprint(app, feedback, events):
    app.config["SECRET_KEY"] = "k"
    CSRFProtect(app).exempt(feedback)
    client = app.test_client()
    body = {"message_id": client.get("/chat").json["message_id"], "rating": 1}
    assert client.post("/feedback", json=body).status_code == 202
