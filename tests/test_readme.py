"""The README does what it says: its examples and its two commands are run."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import newrelic.agent
import pytest
from flask import Flask, Response, render_template, render_template_string, request, session
from flask_cors import CORS
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_login import LoginManager, UserMixin, login_required, login_user
from flask_wtf.csrf import CSRFProtect
from jinja2 import DictLoader
from running_demo import demo

from feedback_blueprint import FeedbackBlueprint, Refusal
from feedback_blueprint.raters import Raters
from feedback_blueprint.testing import capture_feedback

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
COMMANDS = re.findall(r"^(python3 -m venv .*)$", README, re.MULTILINE)

#: An empty home still has pip's configuration and what it has downloaded.
PIP = {
    "XDG_CONFIG_HOME": os.environ.get("XDG_CONFIG_HOME", str(Path.home() / ".config")),
    "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),
}


def example(mark, **names):
    """Run the one example that contains `mark`, with some names given; return all its names."""
    [code] = [code for code in EXAMPLES if mark in code]
    names["__name__"] = "readme"
    exec(compile(code, f"README, {mark}", "exec"), names)
    return SimpleNamespace(**names)


def test_the_example_on_the_first_screen(store_url):
    readme = example("def create_app", llm=lambda prompt: prompt.upper())
    app = readme.create_app()
    assert app.config["FEEDBACK_STORE_URL"].startswith("redis://")
    app = Flask(__name__)
    app.config["FEEDBACK_STORE_URL"] = store_url
    app.register_blueprint(readme.feedback)
    app.post("/chat")(lambda: readme.answer(request.json["prompt"]))
    client = app.test_client()
    with capture_feedback(app):
        reply = client.post("/chat", json={"prompt": "hi"}).json
        assert reply["reply"] == "HI"
        body = {"message_id": reply["message_id"], "rating": "good", "category": "informative"}
        assert client.post("/feedback", json=body | {"message": "Just what"}).status_code == 202


def test_the_example_of_a_view(app, feedback, events):
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
    example("@login_required", app=app, feedback=feedback, login_required=login_required, **names)
    client = app.test_client()
    response = client.post("/chat", json={"prompt": "hi"})
    assert response.status_code == 302
    assert "X-Message-ID" not in response.headers
    client.get("/login")
    response = client.post("/chat", json={"prompt": "hi"})
    assert response.json == {"reply": "HI"}
    body = {"message_id": response.headers["X-Message-ID"], "rating": "good"}
    assert client.post("/feedback", json=body).status_code == 202


def test_the_example_with_a_database(app, feedback, events, client):
    class Row:
        def __init__(self, reply):
            self.reply, self.id = reply, None

    rows = []
    db = SimpleNamespace(add=rows.append, commit=lambda: setattr(rows[-1], "id", 5))
    names = example("db.commit", feedback=feedback, Row=Row, db=db, llm=str.upper)
    with app.test_request_context():
        assert names.save_answer("hi").reply == "HI"
        assert feedback.message_id == "5"
    client.post("/feedback", json={"message_id": 5, "rating": "good"})
    assert (events[0]["model"], events[0]["prompt_version"]) == ("small-1", 7)


def test_the_example_of_an_answer_that_is_made_again(app, feedback, events, client):
    readme = example("def regenerate", feedback=feedback, llm=str.upper)
    row = SimpleNamespace(id=5, prompt="hi", reply="")
    for _ in range(2):
        with app.test_request_context():
            assert readme.regenerate(row).reply == "HI"
        body = {"message_id": 5, "rating": "good"}
        assert client.post("/feedback", json=body).json["revision"] == 1
    assert events[0]["feedback_id"] != events[1]["feedback_id"]


def test_the_example_that_streams(app, feedback, events, client):
    example(
        "def stream_view",
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


def test_the_example_of_server_sent_events(app, feedback, events, client):
    names = {"Response": Response, "request": request, "json": json}
    example("event: message-id", app=app, feedback=feedback, llm_stream=str.split, **names)
    response = client.get("/events?prompt=a b")
    assert response.mimetype == "text/event-stream"
    message_id = response.headers["X-Message-ID"]
    assert response.text.split("\n\n") == [
        *(f"event: message-id\ndata: {message_id}", 'data: "a"', 'data: "b"'),
        *("event: end\ndata: ", ""),
    ]
    body = {"message_id": message_id, "rating": "good"}
    assert client.post("/feedback", json=body).status_code == 202


def test_the_example_by_hand(app, feedback, events, client):
    row = SimpleNamespace(id="by hand")
    example("feedback.stash(row.id)", app=app, feedback=feedback, make_answer=lambda: row)
    response = client.post("/row")
    assert response.json["message_id"] == response.headers["X-Message-ID"] == "by hand"


def test_the_example_of_a_worker_thread(app, feedback, events, client):
    row = SimpleNamespace(id="late")
    with ThreadPoolExecutor(1) as pool:
        names = {"app": app, "feedback": feedback, "pool": pool, "make_answer": lambda: row}
        example("captured.transaction", **names)
        assert client.post("/job").status_code == 202
    body = {"message_id": "late", "rating": "good"}
    assert client.post("/feedback", json=body).status_code == 202


def test_the_example_of_a_job(app, feedback, events):
    sent = {}
    names = {"all_users": lambda: ["ann", "bob"], "deliver_to": sent.__setitem__}
    app.config["SECRET_KEY"] = "k"
    [votes] = app.extensions["feedback_blueprint"].values()
    votes.raters = Raters(str, app.config)
    # The real one would have the agent of the tests' own process connect.
    agent = SimpleNamespace(background_task=lambda: lambda function: function)
    newrelic = SimpleNamespace(agent=agent)
    example("nightly", app=app, feedback=feedback, newrelic=newrelic, **names)
    assert app.test_cli_runner().invoke(args=["nightly"]).exit_code == 0
    assert sent.keys() == {"ann", "bob"}
    assert votes.show(sent["ann"]).message.owner != votes.show(sent["bob"]).message.owner


def test_the_example_in_a_template(app, feedback, events):
    """With the first block of HTML as the template."""
    html = re.search(r"^```html\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)[1]
    app.jinja_loader = DictLoader({"reply.html": html})
    example(
        "def reply_to",
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


def test_the_example_of_a_tag(store_url):
    [html] = re.findall(r"^```html\n(.*feedback-rater.*)\n```$", README, re.MULTILINE)
    app, feedback = Flask(__name__), FeedbackBlueprint(rater=lambda: "ann")
    app.config.update(FEEDBACK_STORE_URL=store_url, SECRET_KEY="k")
    app.register_blueprint(feedback)
    [handed] = re.findall(r"`(app\.jinja_env\..*?)`", README)
    exec(handed, {"app": app, "feedback": feedback})
    with app.test_request_context():
        assert f' content="{feedback.rater_tag}">' in render_template_string(html)
        assert feedback.rater_tag


def test_the_example_of_a_base_url(store_url):
    [html] = re.findall(r"^```html\n(.*feedback-base-url.*)\n```$", README, re.MULTILINE)
    app = Flask(__name__)
    app.config["FEEDBACK_STORE_URL"] = store_url
    app.register_blueprint(FeedbackBlueprint(), url_prefix="/llm")
    with app.test_request_context():
        assert ' content="/llm/feedback">' in render_template_string(html)


@pytest.mark.parametrize("mark", ["session.get", "current_user.get_id"])
def test_the_examples_of_raters(store_url, mark):
    feedback = example(mark, FeedbackBlueprint=FeedbackBlueprint).feedback
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


def test_the_example_of_an_endpoint_of_your_own(store_url):
    app, feedback = Flask(__name__), FeedbackBlueprint()
    app.config["FEEDBACK_STORE_URL"] = store_url
    example("old_feedback", app=app, feedback=feedback, request=request, Refusal=Refusal)
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


def test_the_example_of_a_scale(store_url):
    app = Flask(__name__)
    example("FEEDBACK_CATEGORIES", app=app)
    app.config["FEEDBACK_STORE_URL"] = store_url
    feedback = FeedbackBlueprint()
    app.register_blueprint(feedback)
    with capture_feedback(app) as events, app.test_request_context():
        feedback.submit(feedback.stash(), "good", "wrong")
    assert events[0]["score"] == 1


def test_the_example_of_a_second_blueprint(app, client):
    names = {"app": app, "FeedbackBlueprint": FeedbackBlueprint}
    app.config["REVIEWS_STORE_URL"] = app.config["FEEDBACK_STORE_URL"]
    reviews = example("REVIEWS_", **names).reviews
    app.get("/review")(lambda: str(reviews.stash()))
    with capture_feedback(app) as events:
        body = {"message_id": client.get("/review").text, "rating": "good"}
        assert client.post("/feedback", json=body).status_code == 404
        assert client.post("/reviews/feedback", json=body).status_code == 202
    assert len(events) == 1


def test_the_example_of_neighbours(app, feedback):
    app.config["SECRET_KEY"] = "k"
    names = {"Limiter": Limiter, "CORS": CORS, "CSRFProtect": CSRFProtect}
    example(
        "CSRFProtect", app=app, feedback=feedback, get_remote_address=get_remote_address, **names
    )
    assert app.test_client().post("/feedback", json={}).status_code == 400, "a token is missing"


def test_the_examples_of_the_signal_and_of_a_users_test(app, feedback, client, capsys):
    example("connect_via", app=app)
    app.post("/chat", endpoint="post_chat")(lambda: {"message_id": feedback.stash()})
    example("def test_a_thumb_is_recorded").test_a_thumb_is_recorded(app, client)
    assert capsys.readouterr().out.startswith("good for ")


def test_every_python_example_is_run_by_a_test_above():
    marks = set(re.findall(r'example\(\s*"(.*?)"', Path(__file__).read_text(encoding="utf-8")))
    marks |= {"session.get", "current_user.get_id"}
    marks |= {"a2wsgi", "Finalize"}  # in app_servers.py
    assert all(any(mark in code for mark in marks) for code in EXAMPLES)


def test_every_status_is_in_the_table():
    from feedback_blueprint import errors

    for refusal in errors.Refusal.__subclasses__():
        assert f"| {refusal.status} | `{refusal.code}` |" in README


def test_each_row_of_the_threat_table_names_a_test_that_exists():
    tests = "".join(
        path.read_text(encoding="utf-8") for path in Path(__file__).parent.rglob("*.py")
    )
    named = re.findall(r"`(test_\w+)`", README)
    assert len(named) >= 8
    assert all(f"def {name}(" in tests for name in named)


def test_the_versions_that_are_named_are_declared_and_tried():
    pyproject, tried, lowest = (
        (ROOT / name).read_text(encoding="utf-8")
        for name in ("pyproject.toml", ".ci/run", "tests/lowest.txt")
    )
    pythons = re.findall(r'Python :: (3\.\d+)"', pyproject)
    assert f"Python {pythons[0]} to {pythons[-1]} with" in README
    assert re.findall(r"^(3\.\d+)\b", tried, re.MULTILINE) == pythons
    for name, package in ("Flask", "flask"), ("newrelic", "newrelic"), ("redis-py", "redis"):
        [oldest] = re.findall(rf'^    "{package}>=([\d.]+)', pyproject, re.MULTILINE)
        assert f"{name} {oldest} " in README
        assert f"\n{package}=={oldest}" in lowest


def test_the_commands_are_there():
    demo, tests = COMMANDS
    assert demo.endswith("-m feedback_blueprint.demo")
    assert tests.endswith("-m pytest")


@pytest.mark.skipif(
    os.environ.get("TEST_INSTALLATION") != "true",
    reason="installs from the network: set TEST_INSTALLATION=true",
)
def test_the_demos_command_runs_if_there_is_only_python(tmp_path):
    """The tests' command cannot run itself: `.ci/run` takes it from here and runs it."""
    checkout, tools = tmp_path / "checkout", tmp_path / "tools"
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    tools.mkdir()
    (tools / "python3").symlink_to(Path(sys.executable).resolve())
    command = [shutil.which("bash"), "-c", COMMANDS[0]]
    with demo(tmp_path, {"PATH": str(tools)} | PIP, command, checkout, timeout=300) as running:
        assert f"Chat on http://127.0.0.1:{running.port} " in running.log.read_text()
        page = running.get("/").text
        files = re.findall(r'(?:src|href)="(/.+?)"', page)
        assert [running.get(file).status for file in files] == [200] * 4

        message_id = running.reply().headers["X-Message-ID"]
        vote = {"message_id": message_id, "rating": "good", "category": "to the point"}
        receipt = running.post("/feedback", vote)
        assert receipt.status == 202, receipt.text
        event = receipt.json["event"]
        assert len(event["trace_id"]) == 32
        assert vote.items() <= event.items()
        [standing] = running.get(f"/feedback?message_id={message_id}").json["feedback"]
        assert vote.items() <= standing.items()
        running.interrupt()
