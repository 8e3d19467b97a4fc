"""The app's own routes beside ours: who answers, who is told, and what a refusal leaves behind."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Blueprint, Flask
from host_app import make_app
from runbook import is_quoted
from werkzeug.routing import BaseConverter, Rule

from feedback_blueprint import ConfigurationError, FeedbackBlueprint
from feedback_blueprint.testing import capture_feedback


class Unavailable(BaseConverter):
    def to_python(self, _):
        raise RuntimeError("The database is down.")


@pytest.fixture
def make(new_store_url):
    """Ask for an app in which the blueprint has a place."""

    def make(prefix=None, **options):
        app = Flask(__name__)
        app.config.update(SERVER_NAME="example", FEEDBACK_STORE_URL=new_store_url("sqlite"))
        app.url_map.converters["unavailable"] = Unavailable
        app.register_blueprint(FeedbackBlueprint(), url_prefix=prefix, **options)
        return app

    return make


def own_page(**_):
    return "the app's own page"


def complaints_at_first(app, caplog):
    """What the log says of the app's routes at the first request, and never again."""
    for _ in range(2):
        app.test_client().get("/")
    return [each.message for each in caplog.records if each.levelno == logging.ERROR]


def found_by_check(app):
    output = app.test_cli_runner().invoke(args=["feedback", "check", "--json"]).output
    return [finding for finding in json.loads(output) if finding["what"] == "route"]


@pytest.mark.parametrize(
    ("prefix", "rule", "methods"),
    [
        *[(None, "/feedback", [method]) for method in ("GET", "HEAD", "POST", "DELETE")],
        (None, "/feedback/", ["POST"]),
        (None, "/feedback", ["PUT", "POST"]),
        (None, "/feedback/static/<path:name>", ["GET"]),
        ("/api/", "/api/feedback", ["POST"]),
        ("/<lang>", "/<string:locale>/feedback", ["GET"]),
        ("/<int:tenant>", "/<int:customer>/feedback", ["POST"]),
        ("/<lang>", "/en/feedback", ["POST"]),
        ("/<lang>", "/en/feedback/", ["POST"]),
    ],
)
def test_a_later_route_in_the_way_is_named_at_the_first_request_and_by_the_check(
    make, caplog, prefix, rule, methods
):
    app = make(prefix)
    app.add_url_rule(rule, "old", own_page, methods=methods)
    [complaint] = complaints_at_first(app, caplog)
    [finding] = found_by_check(app)
    assert finding["severity"] == "wrong"
    for said in complaint, finding["seen"] + finding["remedy"]:
        assert f"{rule} (endpoint 'old')" in said
        assert "url_prefix, or remove that route" in said
    assert "'feedback'" in complaint
    assert is_quoted(complaint)


@pytest.mark.parametrize(
    ("prefix", "rule", "options"),
    [
        (None, "/<path:anything>", {"methods": ["GET", "POST"]}),
        (None, "/<name>", {"methods": ["GET", "POST"]}),
        (None, "/feedback/<path:page>", {}),
        (None, "/feedback/static/feedback.js", {}),
        (None, "/feedback", {"methods": ["PUT"]}),
        (None, "/feedback", {"methods": ["OPTIONS"]}),
        (None, "/feedback", {"build_only": True, "methods": ["POST"]}),
        (None, "/feedback", {"websocket": True}),
        (None, "/feedback", {"subdomain": "old", "methods": ["POST"]}),
        ("/api", "/feedback", {"methods": ["POST"]}),
        ("/<lang>", "/admin/feedback", {"methods": ["GET"]}),
        ("/<lang>", "/admin/feedback", {"build_only": True, "methods": ["POST"]}),
        ("/<int:tenant>", "/admin/feedback", {"methods": ["POST"]}),
        ("/<int:tenant>", "/<name>/feedback", {"methods": ["POST"]}),
        ("/<lang>", "/<path:more>/feedback", {"methods": ["POST"]}),
        ("/<unavailable:lang>", "/admin/feedback", {"methods": ["POST"]}),
    ],
)
def test_a_route_that_is_not_in_the_way_is_not_named(make, caplog, prefix, rule, options):
    app = make(prefix)
    app.add_url_rule(rule, "other", own_page, **options)
    assert complaints_at_first(app, caplog) == []
    assert found_by_check(app) == []


def test_of_two_routes_the_first_answers_or_the_more_specific_one(make):
    """What the complaints say: the first at one place, and the more specific anywhere."""
    app = make("/<lang>")
    app.add_url_rule("/<locale>/feedback", "old", own_page, methods=["POST", "PUT"])
    app.add_url_rule("/en/feedback", "english", own_page, methods=["POST"])
    client = app.test_client()
    assert client.post("/de/feedback", json={}).status_code == 422
    assert client.put("/de/feedback").text == client.post("/en/feedback").text == own_page()


def test_routes_of_every_kind_are_named(make, caplog):
    app, theirs = make(), Blueprint("theirs", __name__)
    theirs.post("/feedback", endpoint="vote")(own_page)
    app.register_blueprint(theirs)
    app.url_map.add(Rule("/feedback", endpoint="bare"))  # which answers all methods
    complaints = complaints_at_first(app, caplog)
    assert [each.partition("endpoint ")[2].split(")")[0] for each in complaints] == [
        "'theirs.vote'",
        "'bare'",
    ]
    assert len(found_by_check(app)) == 2


def test_on_another_subdomain_another_route_answers(make, caplog):
    app = make(subdomain="api")
    app.post("/feedback", endpoint="apex")(own_page)
    app.post("/feedback", endpoint="same", subdomain="api")(own_page)
    [complaint] = complaints_at_first(app, caplog)
    assert "'same'" in complaint


def test_on_another_host_another_route_answers(new_store_url, caplog):
    app = Flask(__name__, host_matching=True, static_folder=None)
    app.config["FEEDBACK_STORE_URL"] = new_store_url("sqlite")
    app.register_blueprint(FeedbackBlueprint(), url_prefix="/<lang>")
    app.add_url_rule("/en/feedback", "old", own_page, methods=["POST"], host="old.example")
    app.add_url_rule("/<a>/feedback", "older", own_page, methods=["POST"], host="old.example")
    assert complaints_at_first(app, caplog) == []


def test_the_place_of_another_blueprint_of_ours_is_not_in_the_way(make, caplog):
    app = make("/<lang>")
    reviews = FeedbackBlueprint("reviews")
    app.register_blueprint(reviews, url_prefix="/reviews")
    app.register_blueprint(reviews, name="again", url_prefix="/more")
    assert complaints_at_first(app, caplog) == []
    assert found_by_check(app) == []


def test_each_place_of_a_blueprint_is_looked_at(make, caplog):
    app = make()
    [feedback] = app.extensions["feedback_blueprint"]
    app.register_blueprint(feedback, name="again", url_prefix="/again")
    app.post("/again/feedback", endpoint="old")(own_page)
    [complaint] = complaints_at_first(app, caplog)
    assert "'again'" in complaint
    assert len(found_by_check(app)) == 1


def test_first_requests_at_once_make_one_complaint(make, caplog):
    app = make()
    app.post("/feedback", endpoint="old")(own_page)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: app.test_client().get("/"), range(32)))
    assert len([each for each in caplog.records if each.levelno == logging.ERROR]) == 1


def test_a_log_that_fails_does_not_reach_the_request(make, monkeypatch):
    class Broken(logging.Handler):
        def handle(self, _):
            raise ZeroDivisionError

    app, log = make(), logging.getLogger("feedback_blueprint")
    app.post("/feedback", endpoint="old")(own_page)
    app.get("/page")(own_page)
    monkeypatch.setattr(log, "handlers", [Broken()])
    assert app.test_client().get("/page").text == own_page()


@pytest.mark.parametrize(
    ("rule", "theirs", "ours", "is_taken"),
    [
        ("/feedback/static/<path:name>", None, None, True),
        ("/feedback/static/feedback.js", None, None, False),
        ("/feedback", "api", "api", True),
        ("/feedback", "api", "www", False),
        ("/feedback", "www", None, True),
        ("/feedback", None, "api", False),
        ("/<name>", None, None, False),
    ],
)
def test_a_place_is_taken_on_its_subdomain_alone(rule, theirs, ours, is_taken):
    app = Flask(__name__, subdomain_matching=True, static_folder=None)
    app.url_map.default_subdomain = "www"
    app.add_url_rule(rule, "old", own_page, subdomain=theirs)
    if is_taken:
        with pytest.raises(ConfigurationError, match="url_prefix"):
            app.register_blueprint(FeedbackBlueprint(), subdomain=ours)
    else:
        app.register_blueprint(FeedbackBlueprint(), subdomain=ours)


# What a refused registration leaves


def state(app):
    """All that an app is made of, as text."""
    return {
        "commands": list(app.cli.commands),
        "rules": [repr(rule) for rule in app.url_map.iter_rules()],
        **{name: repr(value) for name, value in vars(app).items()},
    }


@pytest.mark.parametrize(
    ("rater", "config", "good", "prefix", "error"),
    [
        (None, {"FEEDBACK_TTL": 0}, {"FEEDBACK_TTL": 60}, None, ConfigurationError),
        (None, {"FEEDBACK_RATINGS": [1, 2]}, {"FEEDBACK_RATINGS": None}, None, ConfigurationError),
        (None, {"FEEDBACK_STORE_URL": "memory://"}, {}, None, ConfigurationError),
        (str, {}, {"SECRET_KEY": "k"}, None, ConfigurationError),
        (str, {"SECRET_KEY": 5}, {"SECRET_KEY": "k"}, None, ConfigurationError),
        (
            str,
            {"SECRET_KEY": "k", "SECRET_KEY_FALLBACKS": "old"},
            {"SECRET_KEY_FALLBACKS": ["old"]},
            None,
            ConfigurationError,
        ),
        (
            str,
            {"SECRET_KEY": "k", "SECRET_KEY_FALLBACKS": [5]},
            {"SECRET_KEY_FALLBACKS": ["5"]},
            None,
            ConfigurationError,
        ),
        (None, {}, {}, "/taken", ConfigurationError),
        (None, {}, {}, "no-slash", ValueError),
        (None, {}, {}, "/<no_such_converter:lang>", LookupError),
    ],
)
def test_a_refused_registration_leaves_nothing_and_a_good_one_can_follow(
    new_store_url, rater, config, good, prefix, error
):
    feedback = FeedbackBlueprint(rater=rater)
    app = make_app(FEEDBACK_STORE_URL=new_store_url("sqlite"))
    good = {"FEEDBACK_STORE_URL": app.config["FEEDBACK_STORE_URL"], **good}
    app.config.update(config)
    app.add_url_rule("/taken/feedback", "old", own_page, methods=["POST"])
    before, blueprint_before = state(app), dict(vars(feedback))
    with pytest.raises(error):
        app.register_blueprint(feedback, url_prefix=prefix)
    assert state(app) == before
    assert vars(feedback) == blueprint_before
    app.config.update(good)
    app.register_blueprint(feedback)
    assert state(app) != before
    app.get("/chat")(lambda: str(feedback.stash()))
    client = app.test_client()
    with capture_feedback(app):
        body = {"message_id": client.get("/chat").text, "rating": "good"}
        assert client.post("/feedback", json=body).status_code == 202
    assert "feedback" in app.cli.commands
