"""How feedback.js and its modules are served: small, and cached while their content stays."""

from __future__ import annotations

import gzip
import re

import pytest
from flask import Blueprint, Flask, url_for
from werkzeug.routing import BuildError

from feedback_blueprint import ConfigurationError, FeedbackBlueprint
from feedback_blueprint.web.assets import FOLDER, assets, load_asset

MODULES = ("feedback.js", "element.js", "queue.js")
FOREVER = "public, max-age=31536000, immutable"


def url_in(app, endpoint="feedback.static", filename="feedback.js", **values):
    with app.test_request_context():
        return url_for(endpoint, filename=filename, **values)


def test_the_scripts_are_8_kilobytes_gzipped_as_the_pages_say(app, client):
    served = {name: client.get(url_in(app, filename=name)).data for name in MODULES}
    size = sum(len(gzip.compress(content)) for content in served.values())
    assert round(size / 1000) == 8, size


def test_the_scripts_depend_on_nothing_but_each_other():
    assert {path.name for path in FOLDER.glob("*.js")} == set(MODULES)
    for name in MODULES:
        script = (FOLDER / name).read_text()
        assert not re.search(r"\bimport\(|\beval\b|innerHTML", script)
        assert set(re.findall(r'from "(.*?)"', script)) <= {f"./{other}" for other in MODULES}


def test_a_module_is_imported_by_the_url_of_its_content(app, client):
    """What a browser keeps of one never meets another's older version."""
    for name in MODULES:
        script = client.get("/feedback/static/" + name).text
        for url in re.findall(r'from "\./(.*?)"', script):
            assert "/feedback/static/" + url == url_in(app, filename=url.partition("?")[0])
            assert client.get("/feedback/static/" + url).headers["Cache-Control"] == FOREVER


def test_a_change_of_a_module_changes_the_url_of_what_imports_it(tmp_path):
    for name in MODULES:
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    before = load_asset(tmp_path / "feedback.js")
    assert before == assets()["feedback.js"]
    (tmp_path / "queue.js").write_text((FOLDER / "queue.js").read_text() + "let other;")
    after = load_asset(tmp_path / "feedback.js")
    assert after.version != before.version
    [element] = re.findall(rb"element\.js\?v=\w+", after.content)
    assert element not in before.content


def test_a_url_that_names_the_content_is_kept_for_good(app, client):
    url = url_in(app)
    assert re.fullmatch(r"/feedback/static/feedback\.js\?v=[0-9a-f]{16}", url)
    response = client.get(url)
    assert response.status_code == 200
    assert response.mimetype == "text/javascript"
    assert response.headers["Cache-Control"] == FOREVER


def test_a_script_is_javascript_whatever_the_system_says(client, monkeypatch):
    monkeypatch.setattr("mimetypes.guess_type", lambda *_, **__: ("text/plain", None))
    assert client.get("/feedback/static/feedback.js").mimetype == "text/javascript"


@pytest.mark.parametrize(
    "path", ["feedback.js", "feedback.js?v=", "feedback.js?v=0123456789abcdef"]
)
def test_any_other_url_is_asked_for_again(client, path):
    response = client.get("/feedback/static/" + path)
    assert response.headers["Cache-Control"] == "no-cache"
    again = client.get(
        "/feedback/static/feedback.js", headers={"If-None-Match": response.headers["ETag"]}
    )
    assert again.status_code == 304


def test_the_apps_own_max_age_holds_for_a_script(app, client):
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 60
    response = client.get("/feedback/static/feedback.js")
    assert response.headers["Cache-Control"] == "public, max-age=60"


def test_what_is_not_an_asset_is_not_found(app, client):
    assert client.get("/feedback/static/other.js").status_code == 404
    assert client.get("/feedback/static/../assets.py").status_code == 404
    assert client.get("/feedback/static/README.md").status_code == 404
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


def test_the_scripts_are_where_the_blueprint_is(store_url):
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
