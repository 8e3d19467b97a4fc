"""The examples in Python and in templates, of all pages, are run; those of scripts for a browser
are in test_element_readme.py."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import newrelic.agent
import pytest
from documentation import ROOT, block, example, run, text_of
from flask import Flask, Response, render_template, render_template_string, request, session
from flask_cors import CORS
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_login import LoginManager, UserMixin, login_required, login_user
from flask_wtf.csrf import CSRFProtect
from jinja2 import DictLoader

from feedback_blueprint import FeedbackBlueprint, Refusal, errors
from feedback_blueprint.raters import Raters
from feedback_blueprint.testing import capture_feedback


def plugins(*names: str) -> dict[str, str]:
    """What has a pytest load these plugins, and none of the others that are installed here."""
    return {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": ",".join(names)}


def test_the_example_of_a_view_works(app, feedback, events):
    app.config["SECRET_KEY"] = "k"
    login = LoginManager(app)
    login.login_view = "login"

    class User(UserMixin):
        id = "ann"

    login.user_loader(lambda _: User())
    app.add_url_rule("/login", "login", lambda: str(login_user(User())))
    names = {"llm": str.upper, "request": request, "newrelic": newrelic}
    # The fixture's own view has the name, too.
    app.view_functions.pop("chat")
    example(
        block("messages", "python", "@login_required"),
        app=app,
        feedback=feedback,
        login_required=login_required,
        **names,
    )
    client = app.test_client()
    response = client.post("/chat", json={"prompt": "hi"})
    assert response.status_code == 302
    assert "X-Message-ID" not in response.headers
    client.get("/login")
    response = client.post("/chat", json={"prompt": "hi"})
    assert response.json == {"reply": "HI"}
    body = {"message_id": response.headers["X-Message-ID"], "rating": "good"}
    assert client.post("/feedback", json=body).status_code == 202


def test_the_example_with_a_database_works(app, feedback, events, client):
    class Row:
        def __init__(self, reply):
            self.reply, self.id = reply, None

    rows = []
    db = SimpleNamespace(add=rows.append, commit=lambda: setattr(rows[-1], "id", 5))
    names = example(
        block("messages", "python", "db.commit"), feedback=feedback, Row=Row, db=db, llm=str.upper
    )
    with app.test_request_context():
        assert names.save_answer("hi").reply == "HI"
        assert feedback.message_id == "5"
    client.post("/feedback", json={"message_id": 5, "rating": "good"})
    assert (events[0]["model"], events[0]["prompt_version"]) == ("small-1", 7)


def test_the_example_of_an_answer_that_is_made_again_works(app, feedback, events, client):
    readme = example(
        block("messages", "python", "def regenerate"), feedback=feedback, llm=str.upper
    )
    row = SimpleNamespace(id=5, prompt="hi", reply="")
    for _ in range(2):
        with app.test_request_context():
            assert readme.regenerate(row).reply == "HI"
        body = {"message_id": 5, "rating": "good"}
        assert client.post("/feedback", json=body).json["revision"] == 1
    assert events[0]["feedback_id"] != events[1]["feedback_id"]


def test_the_example_that_streams_works(app, feedback, events, client):
    example(
        block("messages", "python", "def stream_view"),
        app=app,
        feedback=feedback,
        llm_stream=str.split,
        Response=Response,
        request=request,
    )
    response = app.test_client().post("/stream", json={"prompt": "a b"})
    assert response.text == "ab"
    body = {"message_id": response.headers["X-Message-ID"], "rating": "good"}
    assert client.post("/feedback", json=body).status_code == 202


def test_the_example_of_server_sent_events_works(app, feedback, events, client):
    names = {"Response": Response, "request": request, "json": json}
    example(
        block("messages", "python", "event: message-id"),
        app=app,
        feedback=feedback,
        llm_stream=str.split,
        **names,
    )
    response = client.get("/events?prompt=a b")
    assert response.mimetype == "text/event-stream"
    message_id = response.headers["X-Message-ID"]
    assert response.text.split("\n\n") == [
        *(f"event: message-id\ndata: {message_id}", 'data: "a"', 'data: "b"'),
        *("event: end\ndata: ", ""),
    ]
    body = {"message_id": message_id, "rating": "good"}
    assert client.post("/feedback", json=body).status_code == 202


def test_the_example_by_hand_works(app, feedback, events, client):
    row = SimpleNamespace(id="by hand")
    example(
        block("messages", "python", "def make_row"),
        app=app,
        feedback=feedback,
        make_answer=lambda: row,
    )
    response = client.post("/row")
    assert response.json["message_id"] == response.headers["X-Message-ID"] == "by hand"


def test_the_example_of_a_worker_thread_works(app, feedback, events, client):
    row = SimpleNamespace(id="late")
    with ThreadPoolExecutor(1) as pool:
        names = {"app": app, "feedback": feedback, "pool": pool, "make_answer": lambda: row}
        example(block("messages", "python", "captured.transaction"), **names)
        assert client.post("/job").status_code == 202
    body = {"message_id": "late", "rating": "good"}
    assert client.post("/feedback", json=body).status_code == 202


def test_the_example_of_a_job_works(app, feedback, events):
    sent = {}
    names = {"all_users": lambda: ["ann", "bob"], "deliver_to": sent.__setitem__}
    app.config["SECRET_KEY"] = "k"
    [votes] = app.extensions["feedback_blueprint"].values()
    votes.raters = Raters(str, app.config)
    # The real one would have the agent of the tests' own process connect.
    agent = SimpleNamespace(background_task=lambda: lambda function: function)
    newrelic = SimpleNamespace(agent=agent)
    example(
        block("messages", "python", "nightly"),
        app=app,
        feedback=feedback,
        newrelic=newrelic,
        **names,
    )
    assert app.test_cli_runner().invoke(args=["nightly"]).exit_code == 0
    assert sent.keys() == {"ann", "bob"}
    ann, bob = (votes.store.show(f"fb:{sent[name]}").message.owner for name in ("ann", "bob"))
    assert ann != bob


@pytest.mark.parametrize(
    "html", [block("README", "html", "<script"), block("static", "html", "<script")]
)
def test_the_example_in_a_template_works(app, feedback, events, html):
    app.jinja_loader = DictLoader({"reply.html": html})
    example(
        block("static", "python", "def reply_to"),
        app=app,
        feedback=feedback,
        llm=str.upper,
        request=request,
        render_template=render_template,
    )
    client = app.test_client()
    response = client.get("/ask?prompt=hi")
    assert f'message-id="{response.headers["X-Message-ID"]}"' in response.text
    [script] = re.findall(r'src="(.+?)"', response.text)
    assert "immutable" in client.get(script).headers["Cache-Control"]


def test_the_example_of_a_tag_works(store_url):
    html = block("static", "html", "feedback-rater")
    app, feedback = Flask(__name__), FeedbackBlueprint(rater=lambda: "ann")
    app.config.update(FEEDBACK_STORE_URL=store_url, SECRET_KEY="k")
    app.register_blueprint(feedback)
    [handed] = re.findall(r"`(app\.jinja_env\..*?)`", text_of("static"))
    exec(handed, {"app": app, "feedback": feedback})
    with app.test_request_context():
        assert f' content="{feedback.rater_tag}">' in render_template_string(html)
        assert feedback.rater_tag


def test_the_example_of_a_base_url_works(store_url):
    html = block("static", "html", "feedback-base-url")
    app = Flask(__name__)
    app.config["FEEDBACK_STORE_URL"] = store_url
    app.register_blueprint(FeedbackBlueprint(), url_prefix="/llm")
    with app.test_request_context():
        assert ' content="/llm/feedback">' in render_template_string(html)


@pytest.mark.parametrize(
    "code",
    [block("web", "python", "session.get"), block("web", "python", "current_user.get_id")],
)
def test_the_examples_of_raters_work(store_url, code):
    feedback = example(code, FeedbackBlueprint=FeedbackBlueprint).feedback
    app = Flask(__name__)
    app.config.update(FEEDBACK_STORE_URL=store_url, SECRET_KEY="k")
    app.register_blueprint(feedback)

    class User(UserMixin):
        def __init__(self, name):
            self.id = name

    LoginManager(app).user_loader(User)

    @app.get("/login/<name>")
    def login(name):
        session["user"] = name
        return str(login_user(User(name)))

    app.get("/chat")(lambda: str(feedback.stash()))
    ann, bob = app.test_client(), app.test_client()
    with capture_feedback(app):
        ann.get("/login/ann")
        bob.get("/login/bob")
        body = {"message_id": ann.get("/chat").text, "rating": "good"}
        assert bob.post("/feedback", json=body).status_code == 404
        assert ann.post("/feedback", json=body).status_code == 202


def test_the_example_of_an_endpoint_of_your_own_works(store_url):
    app, feedback = Flask(__name__), FeedbackBlueprint()
    app.config["FEEDBACK_STORE_URL"] = store_url
    example(
        block("web", "python", "old_feedback"),
        app=app,
        feedback=feedback,
        request=request,
        Refusal=Refusal,
    )
    chat = feedback.trace_message(message_id="id")(lambda: {"id": request.json["id"]})
    app.post("/chat", endpoint="chat")(chat)
    client = app.test_client()
    with capture_feedback(app) as events:
        client.post("/chat", json={"id": "m"})
        old = {"id": "m", "thumbs_up": True, "text": "Nice"}
        answer = client.post("/feedback", json=old)
        assert (answer.status_code, answer.json) == (200, {"ok": True})
        for wrong, status in (old | {"id": "before"}, 404), ({}, 422):
            answer = client.post("/feedback", json=wrong)
            assert (answer.status_code, answer.json["ok"]) == (status, False)
        new = {"message_id": "m", "rating": "bad"}
        assert client.post("/llm/feedback", json=new).json["revision"] == 2
    assert [(event["rating"], event["message"]) for event in events] == [
        ("good", "Nice"),
        ("bad", ""),
    ]
    assert client.get("/llm/feedback/static/feedback.js").status_code == 200


def test_the_example_of_a_scale_works(store_url):
    app = Flask(__name__)
    example(block("README", "python", "FEEDBACK_CATEGORIES"), app=app)
    app.config["FEEDBACK_STORE_URL"] = store_url
    feedback = FeedbackBlueprint()
    app.register_blueprint(feedback)
    with capture_feedback(app) as events, app.test_request_context():
        feedback.submit(feedback.stash(), "good", "wrong")
    assert events[0]["score"] == 1


def test_the_example_of_a_second_blueprint_works(app, client):
    names = {"app": app, "FeedbackBlueprint": FeedbackBlueprint}
    app.config["REVIEWS_STORE_URL"] = app.config["FEEDBACK_STORE_URL"]
    reviews = example(block("web", "python", "REVIEWS_"), **names).reviews
    app.get("/review")(lambda: str(reviews.stash()))
    with capture_feedback(app) as events:
        body = {"message_id": client.get("/review").text, "rating": "good"}
        assert client.post("/feedback", json=body).status_code == 404
        assert client.post("/reviews/feedback", json=body).status_code == 202
    assert len(events) == 1


def test_the_example_of_neighbours_works(app, feedback):
    app.config["SECRET_KEY"] = "k"
    names = {"Limiter": Limiter, "CORS": CORS, "CSRFProtect": CSRFProtect}
    example(
        block("web", "python", "CSRFProtect"),
        app=app,
        feedback=feedback,
        get_remote_address=get_remote_address,
        **names,
    )
    assert app.test_client().post("/feedback", json={}).status_code == 400, "a token is missing"


def test_the_example_of_the_signal_works(app, post, capsys):
    example(block("web", "python", "connect_via"), app=app)
    post()
    assert capsys.readouterr().out.startswith("good for ")


def test_the_example_of_a_users_test_works(tmp_path):
    (tmp_path / "chat.py").write_text("""
from flask import Flask, request
from feedback_blueprint import FeedbackBlueprint

feedback = FeedbackBlueprint()

def create_app(config):
    app = Flask(__name__)
    app.config.update(config)
    app.register_blueprint(feedback)
    app.post("/chat")(lambda: answer(request.json["prompt"]))
    return app

@feedback.trace_message
def answer(prompt, *, message_id):
    return {"message_id": message_id, "reply": prompt}
""")
    users_test = block("README", "python", "def test_a_thumb_is_recorded")
    (tmp_path / "test_chat.py").write_text(users_test)
    assert "1 passed" in run("python -m pytest", tmp_path, plugins("pytest_flask.plugin"))
    assert not (tmp_path / "instance").exists()


def test_every_status_is_in_the_table():
    for refusal in errors.Refusal.__subclasses__():
        assert f"| {refusal.status} | `{refusal.code}` |" in text_of("web")


def test_the_command_prints_where_the_module_for_a_bundle_is(tmp_path):
    printed = run(block("static", "sh", "feedback.js"), tmp_path)
    assert "export" in Path(printed.strip()).read_text(encoding="utf-8")


def test_what_contributors_are_told_to_run_is_what_ci_runs():
    """But that CI changes no file, and takes the command of the tests from the README."""
    commands = re.split(r" && |\n", block("CONTRIBUTING", "sh", "ruff check").strip())
    ci = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    assert len(commands) == 7
    for command in commands:
        command = command.replace("ruff format", "ruff format --check")
        command = command.replace("pip install -e", "pip install --quiet -e")
        if command.endswith("-m pytest"):
            assert text_of("README").count(f" && {command}\n") == 1
        else:
            assert command in ci


def test_the_commands_for_tests_name_what_there_is():
    """They are not run once more: the first is the README's."""
    [everything, some] = block("tests", "sh", "-k revision").splitlines()
    assert everything in text_of("README")
    collect = f"{some} --collect-only -qq --numprocesses=0"
    env = plugins("pytest_flask.plugin", "xdist.plugin")
    found = run(collect, ROOT, env, **{".venv/bin/": ""})
    assert "tests/rules/test_votes.py: " in found
    fewer = block("tests", "sh", "--ignore=tests/browser")
    assert fewer.startswith(everything)
    ignored = re.findall(r"--ignore=(\S+)", fewer)
    assert ignored
    assert all(list(ROOT.glob(path)) for path in ignored), ignored
