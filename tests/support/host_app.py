"""An app of a test's own, if the fixture `app` is not the one it needs; and what it is asked."""

from __future__ import annotations

from flask import Flask


def make_app(*blueprints, **config):
    app = Flask(__name__)
    # On a busy machine the log would otherwise say that the store is slow.
    app.config.update({"FEEDBACK_STORE_TIMEOUT": 2.0} | config)
    for blueprint in blueprints:
        app.register_blueprint(blueprint)
    return app


def ask_all(client, message_id, headers=None):
    """The answers of all three routes about a message."""
    url = f"/feedback?message_id={message_id}"
    body = {"message_id": message_id, "rating": "good"}
    answers = [
        client.post("/feedback", json=body, headers=headers),
        client.delete(url, headers=headers),
        client.get(url, headers=headers),
    ]
    return [(answer.status_code, answer.text, sorted(answer.headers)) for answer in answers]
