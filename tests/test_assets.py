"""How feedback.js is served: small, typed, and cached for as long as its content stays."""

from __future__ import annotations

import gzip
import re
import sys

import pytest
from flask import Blueprint, Flask, url_for
from werkzeug.routing import BuildError

from feedback_blueprint import ConfigurationError, FeedbackBlueprint
from feedback_blueprint.assets import FOLDER

JS = FOLDER / "feedback.js"
FOREVER = "public, max-age=31536000, immutable"


@pytest.fixture
def store_url(new_store_url):
    return new_store_url("sqlite")


def url_in(app, endpoint="feedback.static", **values):
    with app.test_request_context():
        return url_for(endpoint, filename="feedback.js", **values)


def test_it_is_at_most_six_and_a_half_kilobytes(app, client, capsys):
    served = client.get(url_in(app)).data
    assert served == JS.read_bytes()
    size = len(gzip.compress(served))
    with capsys.disabled():  # stdout is not shown where tests run side by side
        print(f" feedback.js: {len(served)} bytes, {size} gzipped ", end="", file=sys.stderr)
    assert size <= 6.5 * 1024


def test_it_depends_on_nothing():
    assert not re.search(r"^\s*import\b|\bimport\(|\beval\b|innerHTML", JS.read_text(), re.M)


def test_every_export_has_a_type():
    exported = r"^export (?:async )?(?:const|function|class) (\w+)"
    types = (FOLDER / "feedback.d.ts").read_text()
    assert set(re.findall(exported, JS.read_text(), re.M)) == set(re.findall(exported, types, re.M))
    texts = re.search(r"texts = \{(.*?)\}", JS.read_text(), re.S)
    assert all(f'| "{name}"' in types for name in re.findall(r"^  (\w+):", texts[1], re.M))


def test_a_url_that_names_the_content_is_kept_for_good(app, client):
    url = url_in(app)
    assert re.fullmatch(r"/feedback/static/feedback\.js\?v=[0-9a-f]{16}", url)
    response = client.get(url)
    assert response.status_code == 200
    assert response.mimetype == "text/javascript"
    assert response.headers["Cache-Control"] == FOREVER


def test_it_is_javascript_whatever_the_system_says(client, monkeypatch):
    monkeypatch.setattr("mimetypes.guess_type", lambda *_, **__: ("text/plain", None))
    assert client.get("/feedback/static/feedback.js").mimetype == "text/javascript"


@pytest.mark.parametrize(
    "path", ["feedback.js", "feedback.js?v=", "feedback.js?v=0123456789abcdef", "./feedback.js"]
)
def test_any_other_url_is_asked_for_again(app, client, path):
    response = client.get("/feedback/static/" + path)
    assert response.headers["Cache-Control"] == "no-cache"
    again = client.get(
        "/feedback/static/feedback.js", headers={"If-None-Match": response.headers["ETag"]}
    )
    assert again.status_code == 304


def test_the_apps_own_setting_holds_for_it(app, client):
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 60
    response = client.get("/feedback/static/feedback.js")
    assert response.headers["Cache-Control"] == "public, max-age=60"


def test_what_is_not_there(app, client):
    assert client.get("/feedback/static/other.js").status_code == 404
    assert client.get("/feedback/static/../assets.py").status_code == 404
    with app.test_request_context():
        assert url_for("feedback.static", filename="other.js") == "/feedback/static/other.js"


def test_a_url_without_a_file_is_an_error_of_the_routing(app):
    with app.test_request_context(), pytest.raises(BuildError, match="filename"):
        url_for("feedback.static")


def test_static_files_of_the_apps_are_refused():
    with pytest.raises(ConfigurationError, match=r"static_folder.* Give "):
        FeedbackBlueprint(static_folder="assets")


def test_answers_of_the_routes_are_still_not_stored(client, message_id):
    for answer in (
        client.get("/feedback", query_string={"message_id": message_id}),
        client.get("/feedback"),
        client.post("/feedback", json={"message_id": message_id, "rating": "good"}),
    ):
        assert answer.headers["Cache-Control"] == "no-store"


def test_it_is_where_the_blueprint_is(store_url):
    parent = Blueprint("api", __name__, url_prefix="/api")
    parent.register_blueprint(FeedbackBlueprint("deep"), url_prefix="/v1")
    app = Flask(__name__)
    app.config["FEEDBACK_STORE_URL"] = store_url
    app.register_blueprint(FeedbackBlueprint())
    app.register_blueprint(FeedbackBlueprint("other", url_prefix="/other"))
    app.register_blueprint(parent)
    for endpoint, place in (
        ("feedback.static", "/feedback/static/feedback.js?v="),
        ("other.static", "/other/feedback/static/feedback.js?v="),
        ("api.deep.static", "/api/v1/feedback/static/feedback.js?v="),
    ):
        url = url_in(app, endpoint)
        assert url.startswith(place)
        assert app.test_client().get(url).headers["Cache-Control"] == FOREVER
    assert url_in(app, "static") == "/static/feedback.js", "the app's own files are its own"


def test_a_route_of_the_app_is_not_shadowed():
    app = Flask(__name__)
    app.get("/feedback/static/<path:filename>", endpoint="mine")(lambda filename: filename)
    with pytest.raises(ConfigurationError, match="url_prefix"):
        app.register_blueprint(FeedbackBlueprint())
