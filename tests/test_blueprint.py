"""Registration: two apps, two instances, taken routes, and configuration with its errors."""

from __future__ import annotations

import os
import sqlite3
from datetime import timedelta

import pytest
import redis
from flask import Blueprint, Flask

from feedback_blueprint import ConfigurationError, FeedbackBlueprint, RedisStore, SQLiteStore
from feedback_blueprint.config import Settings
from feedback_blueprint.testing import capture_feedback


def make_app(*blueprints, **config):
    app = Flask(__name__)
    app.config.update(config)
    for blueprint in blueprints:
        app.register_blueprint(blueprint)
    return app


def settings(feedback=None, **config):
    feedback = feedback or FeedbackBlueprint()
    return make_app(feedback, **config).extensions["feedback_blueprint"][feedback].settings


# Apps and instances


def test_one_instance_on_two_apps_does_not_leak(new_store_url):
    feedback = FeedbackBlueprint()
    ratings = [{"up": 1, "down": 0}, range(1, 6)]
    apps = [
        make_app(feedback, FEEDBACK_STORE_URL=new_store_url("sqlite"), FEEDBACK_RATINGS=scale)
        for scale in ratings
    ]
    for app in apps:
        app.get("/chat")(lambda: {"message_id": feedback.stash("same")})
    with capture_feedback(apps[0]) as first, capture_feedback(apps[1]) as second:
        for app in apps:
            assert app.test_client().get("/chat").json == {"message_id": "same"}
        for rating, statuses in ("up", [202, 422]), (5, [422, 202]):
            body = {"message_id": "same", "rating": rating}
            answers = [app.test_client().post("/feedback", json=body) for app in apps]
            assert [answer.status_code for answer in answers] == statuses
    assert [event["rating"] for event in first] == ["up"]
    assert [event["rating"] for event in second] == [5]


def test_two_instances_in_one_app_do_not_clash(store_url):
    one, two = FeedbackBlueprint(), FeedbackBlueprint("other", url_prefix="/other")
    app = make_app(one, two, FEEDBACK_STORE_URL=store_url)

    @app.get("/chat")
    def chat():
        return [one.stash("same"), two.stash("same"), one.message_id, two.message_id]

    client = app.test_client()
    with capture_feedback(app) as events:
        response = client.get("/chat")
        assert response.json == ["same"] * 4
        for path in "/feedback", "/other/feedback":
            answer = client.post(path, json={"message_id": "same", "rating": "good"})
            assert answer.json["revision"] == 1
    assert events[0]["trace_id"] != events[1]["trace_id"]


def test_an_instance_can_be_nested_and_have_a_prefix(store_url):
    feedback, parent = FeedbackBlueprint(), Blueprint("api", __name__, url_prefix="/api")
    parent.register_blueprint(feedback, url_prefix="/v1")
    app = make_app(parent, FEEDBACK_STORE_URL=store_url)
    app.get("/chat")(lambda: {"id": feedback.stash()})
    with capture_feedback(app):
        body = {"message_id": app.test_client().get("/chat").json["id"], "rating": 1}
        assert app.test_client().post("/api/v1/feedback", json=body).status_code == 202


def test_an_instance_registered_twice_announces_each_message_once(store_url):
    feedback = FeedbackBlueprint()
    app = make_app(feedback, FEEDBACK_STORE_URL=store_url)
    app.register_blueprint(feedback, name="again", url_prefix="/again")
    app.get("/chat")(feedback.trace_message(lambda: "reply"))
    with capture_feedback(app):
        response = app.test_client().get("/chat")
        [message_id] = response.headers.getlist("X-Message-ID")
        body = {"message_id": message_id, "rating": 1}
        assert app.test_client().post("/again/feedback", json=body).status_code == 202
        assert app.test_client().post("/feedback", json=body).status_code == 200


def test_a_route_that_the_app_has_already_is_not_shadowed():
    app = Flask(__name__)
    app.get("/feedback")(lambda: "the app's own page")
    with pytest.raises(ConfigurationError, match="url_prefix"):
        app.register_blueprint(FeedbackBlueprint())
    app = Flask(__name__)
    app.get("/feedback")(lambda: "the app's own page")
    app.register_blueprint(FeedbackBlueprint(), url_prefix="/llm")
    assert app.test_client().get("/feedback").text == "the app's own page"


def test_two_instances_at_one_place_are_refused():
    with pytest.raises(ConfigurationError, match="url_prefix"):
        make_app(FeedbackBlueprint(), FeedbackBlueprint("other"))


def test_routes_that_do_not_answer_there_are_no_conflict():
    app = Flask(__name__)
    app.put("/feedback")(lambda: "put")
    app.get("/<path:page>", endpoint="page")(lambda page: page)
    app.register_blueprint(FeedbackBlueprint())
    assert app.test_client().put("/feedback").text == "put"
    assert app.test_client().get("/other").text == "other"


def test_registration_opens_nothing(tmp_path):
    app = Flask(__name__, instance_path=str(tmp_path / "instance"))
    app.register_blueprint(FeedbackBlueprint())
    make_app(FeedbackBlueprint(), FEEDBACK_STORE_URL="redis://127.0.0.1:1/0")
    assert list(tmp_path.iterdir()) == []


def test_the_default_store_is_a_file_in_the_instance_folder(tmp_path):
    app = Flask(__name__, instance_path=str(tmp_path / "instance"))
    feedback = FeedbackBlueprint()
    app.register_blueprint(feedback)
    app.get("/chat")(lambda: feedback.stash())
    with capture_feedback(app):
        app.test_client().get("/chat")
    [path] = (tmp_path / "instance").glob("*.sqlite3")
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM messages").fetchone() == (1,)


def test_a_relative_sqlite_path_is_in_the_instance_folder(tmp_path):
    app = Flask(__name__, instance_path=str(tmp_path))
    app.config["FEEDBACK_STORE_URL"] = "sqlite:///votes%20here.db"
    feedback = FeedbackBlueprint()
    app.register_blueprint(feedback)
    app.get("/chat")(lambda: feedback.stash())
    with capture_feedback(app):
        app.test_client().get("/chat")
    assert (tmp_path / "votes here.db").exists()


def test_a_ready_redis_client_is_a_store(redis_server):
    client = redis.Redis.from_url(redis_server.fresh_url())
    feedback = FeedbackBlueprint(store=RedisStore(client))
    app = make_app(feedback)
    app.get("/chat")(lambda: feedback.stash())
    with capture_feedback(app) as events:
        body = {"message_id": app.test_client().get("/chat").text, "rating": "good"}
        assert app.test_client().post("/feedback", json=body).status_code == 202
        assert app.test_client().post("/feedback", json=body).status_code == 200
    assert len(events) == 1
    assert client.keys() == [f"fb:{body['message_id']}".encode()]


def test_a_client_that_decodes_is_refused():
    with pytest.raises(ConfigurationError, match="decode_responses"):
        RedisStore(redis.Redis(decode_responses=True))


def test_a_unix_socket_is_a_store(redis_server):
    feedback = FeedbackBlueprint()
    app = make_app(feedback, FEEDBACK_STORE_URL=f"unix://{redis_server.socket}?db=3")
    app.get("/chat")(lambda: str(feedback.stash()))
    with capture_feedback(app):
        assert len(app.test_client().get("/chat").text) == 22


def test_an_app_without_the_blueprint_says_what_was_forgotten():
    feedback = FeedbackBlueprint()
    with Flask(__name__).app_context(), pytest.raises(RuntimeError, match="register_blueprint"):
        feedback.record("m", "good")
    with pytest.raises(RuntimeError, match="register_blueprint"), capture_feedback(Flask("x")):
        pass


# Configuration


def test_the_defaults():
    assert settings() == Settings(
        store_url=None,
        ttl=timedelta(days=7),
        key_prefix="fb:",
        store_timeout=0.25,
        ratings=None,
        categories=None,
        store_message=False,
        max_revisions=20,
    )


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("TTL", 60, timedelta(minutes=1)),
        ("TTL", timedelta(hours=1), timedelta(hours=1)),
        ("STORE_TIMEOUT", 1, 1.0),
        ("RATINGS", {"bad": 0, "good": 1}, {"bad": 0, "good": 1}),
        ("RATINGS", {-1: 0, 1: 0.5}, {-1: 0, 1: 0.5}),
        ("RATINGS", range(1, 6), {1: 0, 2: 0.25, 3: 0.5, 4: 0.75, 5: 1}),
        ("RATINGS", range(2, -1, -1), {2: 1, 1: 0.5, 0: 0}),
        ("RATINGS", "range(0, 2)", {0: 0, 1: 1}),
        ("CATEGORIES", ["a", "b"], ("a", "b")),
        ("CATEGORIES", ("a",), ("a",)),
        ("STORE_MESSAGE", True, True),
        ("MAX_REVISIONS", 1, 1),
        ("KEY_PREFIX", "", ""),
    ],
)
def test_a_good_value_is_read(key, value, expected):
    read = settings(**{f"FEEDBACK_{key}": value})
    assert getattr(read, key.lower()) == expected


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("TTL", 0),
        ("TTL", -1),
        ("TTL", "7d"),
        ("TTL", True),
        ("TTL", None),
        ("TTL", float("inf")),
        ("TTL", float("nan")),
        ("TTL", 10**30),
        ("STORE_TIMEOUT", 0),
        ("STORE_TIMEOUT", 61),
        ("STORE_TIMEOUT", "fast"),
        ("RATINGS", []),
        ("RATINGS", {}),
        ("RATINGS", "good,bad"),
        ("RATINGS", {"good": "high"}),
        ("RATINGS", {"good": True}),
        ("RATINGS", {"good": float("nan")}),
        ("RATINGS", {"": 1}),
        ("RATINGS", {1.5: 1}),
        ("RATINGS", {True: 1}),
        ("RATINGS", {2**63: 1}),
        ("RATINGS", range(1)),
        ("RATINGS", range(10**9)),
        ("CATEGORIES", "helpful"),
        ("CATEGORIES", []),
        ("CATEGORIES", [1]),
        ("CATEGORIES", 5),
        ("STORE_MESSAGE", "yes"),
        ("STORE_MESSAGE", 1),
        ("MAX_REVISIONS", 0),
        ("MAX_REVISIONS", 2.0),
        ("KEY_PREFIX", 5),
        ("KEY_PREFIX", "\ud800"),
        ("STORE_URL", 5),
        ("STORE_URL", ""),
        ("STORE_URL", "postgres://h/db"),
        ("STORE_URL", "sqlite://"),
        ("STORE_URL", "sqlite:///:memory:"),
        ("STORE_URL", "sqlite://host/path"),
        ("STORE_URL", "redis://localhost:port/0"),
        ("STORE_URL", "redis://localhost:6379/0?socket_timeout=soon"),
        ("STORE_URL", "redis://localhost:6379/zero"),
        ("STORE_URL", "redis://localhost:6379/0?colour=red"),
        ("STORE_URL", "redis+cluster://localhost:6379?colour=red"),
        ("STORE_URL", "redis+sentinel://localhost:26379/primary/0?colour=red"),
        ("STORE_URL", "redis+sentinel://localhost:26379/primary/0?sentinel_colour=red"),
    ],
)
def test_a_bad_value_is_named_with_its_key_and_a_remedy(key, value):
    with pytest.raises(ConfigurationError) as raised:
        settings(**{f"FEEDBACK_{key}": value})
    assert f"FEEDBACK_{key}" in str(raised.value)
    assert "Give " in str(raised.value)


def test_no_password_is_in_an_error():
    with pytest.raises(ConfigurationError) as raised:
        settings(FEEDBACK_STORE_URL="redis://user:hunter2@localhost:port/0?password=hunter3")
    assert "hunter" not in str(raised.value)
    assert "localhost" in str(raised.value)


def test_a_rater_needs_a_secret_key():
    with pytest.raises(ConfigurationError, match="SECRET_KEY"):
        make_app(FeedbackBlueprint(rater=lambda: "ann"))


@pytest.mark.parametrize(
    "arguments", [{"rater": "ann"}, {"store": "redis://localhost"}, {"store": object()}]
)
def test_what_is_no_rater_and_no_store_is_refused(arguments):
    with pytest.raises(ConfigurationError, match="Give "):
        FeedbackBlueprint(**arguments)


def test_the_prefix_of_the_keys_can_be_chosen():
    feedback = FeedbackBlueprint(config_prefix="BOT_")
    assert settings(feedback, BOT_TTL=60, FEEDBACK_TTL=0).ttl == timedelta(minutes=1)
    with pytest.raises(ConfigurationError, match="BOT_TTL"):
        settings(FeedbackBlueprint(config_prefix="BOT_"), BOT_TTL=0)


def test_everything_loads_from_the_environment(monkeypatch):
    for key, value in {
        "STORE_URL": "redis://localhost:6379/5",
        "TTL": "3600",
        "KEY_PREFIX": "x:",
        "STORE_TIMEOUT": "0.5",
        "RATINGS": '{"bad": 0, "good": 1}',
        "CATEGORIES": '["a", "b"]',
        "STORE_MESSAGE": "true",
        "MAX_REVISIONS": "3",
    }.items():
        monkeypatch.setitem(os.environ, f"FLASK_FEEDBACK_{key}", value)
    app, feedback = Flask(__name__), FeedbackBlueprint()
    app.config.from_prefixed_env()
    app.register_blueprint(feedback)
    assert app.extensions["feedback_blueprint"][feedback].settings == Settings(
        store_url="redis://localhost:6379/5",
        ttl=timedelta(hours=1),
        key_prefix="x:",
        store_timeout=0.5,
        ratings={"bad": 0, "good": 1},
        categories=("a", "b"),
        store_message=True,
        max_revisions=3,
    )


def test_a_sqlite_store_can_be_given(tmp_path):
    feedback = FeedbackBlueprint(store=SQLiteStore(tmp_path / "s.db", timeout=1))
    app = make_app(feedback)
    app.get("/chat")(lambda: str(feedback.stash()))
    with capture_feedback(app):
        assert len(app.test_client().get("/chat").text) == 22
