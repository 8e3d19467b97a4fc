"""An app of a test's own, where the fixture `app` is not the one it needs."""

from __future__ import annotations

from flask import Flask


def make_app(*blueprints, **config):
    app = Flask(__name__)
    # On a busy machine the log would otherwise say that the store is slow.
    app.config.update({"FEEDBACK_STORE_TIMEOUT": 2.0} | config)
    for blueprint in blueprints:
        app.register_blueprint(blueprint)
    return app
