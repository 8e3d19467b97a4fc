"""Registration: two apps, two instances, taken routes, and stores of every kind to give."""

from __future__ import annotations

import sqlite3

import pytest
import redis
from flask import Blueprint, Flask
from host_app import make_app

from feedback_blueprint import ConfigurationError, FeedbackBlueprint, RedisStore, SQLiteStore
from feedback_blueprint.testing import capture_feedback


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


@pytest.mark.parametrize("renamed", [False, True])
@pytest.mark.parametrize(
    "places", [("feedback", "other"), ("feedback", "other.feedback"), ("a.bc", "ab.c")]
)
def test_two_instances_in_one_app_do_not_clash(store_url, places, renamed):
    app, instances = make_app(FEEDBACK_STORE_URL=store_url), []
    for place in places:
        *parents, name = place.split(".")
        instances.append(FeedbackBlueprint() if renamed else FeedbackBlueprint(name))
        parent = Blueprint(parents[0], __name__) if parents else app
        parent.register_blueprint(instances[-1], name=name, url_prefix=f"/{place}")
        if parents:
            app.register_blueprint(parent)
    one, two = instances

    @app.get("/chat")
    def chat():
        stashed = [one.stash("same"), two.stash("same"), one.stash("another")]
        return [*stashed, one.message_id, two.message_id]

    client = app.test_client()
    with capture_feedback(app) as events:
        response = client.get("/chat")
        assert response.json == ["same", "same", "another", "another", "same"]
        for place in places:
            body = {"message_id": "same", "rating": "good"}
            assert client.post(f"/{place}/feedback", json=body).json["revision"] == 1
    assert events[0]["trace_id"] != events[1]["trace_id"]


@pytest.mark.parametrize("names", [("feedback", "other"), ("a", "a:b"), ("feedback", "fb")])
def test_no_id_of_one_instance_is_a_message_of_another(store_url, names):
    one, two = (FeedbackBlueprint(name, url_prefix=f"/{n}") for n, name in enumerate(names))
    app = make_app(one, two, FEEDBACK_STORE_URL=store_url)
    app.get("/chat")(lambda: [two.stash("x"), two.stash("c")])
    client = app.test_client()
    with capture_feedback(app):
        assert client.get("/chat").json == ["x", "c"]
        for stranger in f"{names[1]}:x", f":{names[1]}:x", "b:c", "fb:x":
            answer = client.post("/0/feedback", json={"message_id": stranger, "rating": "good"})
            assert answer.status_code == 404


def test_an_id_with_a_colon_can_be_rated(store_url):
    feedback = FeedbackBlueprint()
    app = make_app(feedback, FEEDBACK_STORE_URL=store_url)
    app.get("/chat")(lambda: [feedback.stash(each) for each in ("a:b", ":a:b")])
    client = app.test_client()
    with capture_feedback(app) as events:
        for message_id in client.get("/chat").json:
            body = {"message_id": message_id, "rating": "good"}
            assert client.post("/feedback", json=body).status_code == 202
    assert [event["message_id"] for event in events] == ["a:b", ":a:b"]
    assert events[0]["trace_id"] != events[1]["trace_id"]


def test_an_instance_can_be_nested_and_have_a_prefix(store_url):
    feedback, parent = FeedbackBlueprint(), Blueprint("api", __name__, url_prefix="/api")
    parent.register_blueprint(feedback, url_prefix="/v1")
    app = make_app(parent, FEEDBACK_STORE_URL=store_url)
    app.get("/chat")(lambda: {"id": feedback.stash()})
    with capture_feedback(app):
        body = {"message_id": app.test_client().get("/chat").json["id"], "rating": 1}
        assert app.test_client().post("/api/v1/feedback", json=body).status_code == 202


def test_a_prefix_may_have_variables(store_url):
    feedback = FeedbackBlueprint()
    app = Flask(__name__)
    app.config["FEEDBACK_STORE_URL"] = store_url
    app.register_blueprint(feedback, url_prefix="/<lang>")
    app.get("/chat")(lambda: {"id": feedback.stash()})
    client = app.test_client()
    with capture_feedback(app):
        body = {"message_id": client.get("/chat").json["id"], "rating": 1}
        assert client.post("/de/feedback", json=body).status_code == 202
        assert len(client.get("/en/feedback", query_string=body).json["feedback"]) == 1
        assert client.delete("/en/feedback", query_string=body).status_code == 202
    assert client.get("/de/feedback/static/feedback.js").status_code == 200


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


@pytest.mark.parametrize(
    ("taken", "prefix"),
    [
        *[("/feedback", None), ("/feedback/", None), ("/<locale>/feedback", "/<lang>")],
        *[("/<string:a>/feedback", "/<b>"), ("/<a>/feedback", "/<default:b>")],
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_route_that_the_app_has_already_is_not_shadowed(taken, prefix, method):
    app = Flask(__name__)
    app.route(taken, methods=[method], endpoint="mine")(lambda **_: "the app's own page")
    with pytest.raises(ConfigurationError, match="url_prefix"):
        app.register_blueprint(FeedbackBlueprint(), url_prefix=prefix)
    app = Flask(__name__)
    app.route(taken, methods=[method], endpoint="mine")(lambda **_: "the app's own page")
    app.register_blueprint(FeedbackBlueprint(), url_prefix="/llm")
    assert app.test_client().open(taken, method=method).text == "the app's own page"


def test_two_instances_at_one_place_are_refused():
    with pytest.raises(ConfigurationError, match="url_prefix"):
        make_app(FeedbackBlueprint(), FeedbackBlueprint("other"))


def test_routes_that_do_not_answer_there_do_not_conflict():
    app = Flask(__name__)
    app.put("/feedback")(lambda: "put")
    app.get("/<path:page>", endpoint="page")(lambda page: page)
    app.register_blueprint(FeedbackBlueprint())
    assert app.test_client().put("/feedback").text == "put"
    assert app.test_client().get("/other").text == "other"


def test_without_an_app_a_stash_says_what_was_forgotten():
    with pytest.raises(RuntimeError, match="capture"):
        FeedbackBlueprint().stash()


def test_without_the_blueprint_an_app_says_what_was_forgotten():
    with Flask(__name__).app_context(), pytest.raises(RuntimeError, match="register_blueprint"):
        FeedbackBlueprint().submit("m", "good")


def test_without_the_blueprint_an_apps_test_says_what_was_forgotten():
    with pytest.raises(RuntimeError, match="register_blueprint"), capture_feedback(Flask("x")):
        pass


def test_a_key_that_is_set_after_the_registration_is_refused_by_an_apps_test():
    app = Flask(__name__)
    app.register_blueprint(FeedbackBlueprint(config_prefix="REVIEWS_"))
    app.config["REVIEWS_STORE_URL"] = "sqlite:///tests.sqlite3"
    said = "REVIEWS_STORE_URL was changed too late"
    with pytest.raises(ConfigurationError, match=said), capture_feedback(app):
        pass


# Its store


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


@pytest.mark.parametrize("client", ["redis://localhost", None])
def test_what_is_not_a_client_is_refused(client):
    with pytest.raises(ConfigurationError, match="Give it"):
        RedisStore(client)


def test_a_unix_socket_is_a_store(redis_server):
    feedback = FeedbackBlueprint()
    app = make_app(feedback, FEEDBACK_STORE_URL=f"unix://{redis_server.socket}?db=3")
    app.get("/chat")(lambda: str(feedback.stash()))
    with capture_feedback(app):
        assert len(app.test_client().get("/chat").text) == 22


class FalseStore(SQLiteStore):
    def __len__(self):
        return 0


@pytest.mark.parametrize("kind", [SQLiteStore, FalseStore])
def test_a_sqlite_store_can_be_given(tmp_path, kind):
    feedback = FeedbackBlueprint(store=kind(tmp_path / "s.db", timeout=1))
    app = make_app(feedback)
    app.get("/chat")(lambda: str(feedback.stash()))
    with capture_feedback(app):
        assert len(app.test_client().get("/chat").text) == 22
    assert (tmp_path / "s.db").exists()
