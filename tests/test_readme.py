"""The README alone: a newcomer's first vote, and the two commands on the first screen."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from collector import Collector
from documentation import ROOT, SCRIPTS, block, run, text_of
from http_client import Client
from installing import PIP
from needed import needed
from processes import Group, ToolMissingError, environment, free_port, tail, wait_until
from running_demo import demo

README = text_of("README")
DEMO = block("README", "sh", "-m feedback_blueprint.demo").strip()
TESTS = block("README", "sh", "-m pytest").strip()


@contextmanager
def started(commands: str, directory: Path, env: Mapping[str, str], port: int) -> Iterator[Client]:
    """The README's app, as its commands start it: it has answered nothing that is kept."""
    (directory / "app.py").write_text(block("README", "python", "def chat"))
    log, client = directory / "server.log", Client(port)
    path = os.pathsep.join([SCRIPTS, os.environ.get("PATH", os.defpath)])
    with log.open("wb") as output:
        process = Group(
            [shutil.which("bash") or "bash", "-euc", commands],
            cwd=directory,
            env=environment({"PATH": path} | dict(env)),
            stdout=output,
            stderr=output,
        )

    def answers() -> bool:
        assert process.poll() is None, tail(log)
        try:
            return client.get("/").status == 404
        except OSError:
            return False

    try:
        wait_until(answers, "for it to answer")
        yield client
    finally:
        process.end()


def test_a_newcomers_first_vote(tmp_path: Path) -> None:
    """Each command as it is there, but for the port and the ID, says what is there."""
    with needed():
        if not shutil.which("curl", path=os.defpath):
            raise ToolMissingError("no curl: install it")
    port = free_port()
    commands = block("README", "sh", "flask run").replace("8000", str(port))
    ask, rate = block("README", "sh", ":8000/chat"), block("README", "sh", ":8000/feedback")
    reply = json.loads(block("README", "json", '"reply"'))
    receipt = json.loads(block("README", "json", '"accepted"'))
    with started(commands, tmp_path, {}, port):
        replied = json.loads(run(ask, tmp_path, **{"8000": str(port)}))
        assert replied.keys() == reply.keys()
        assert replied["reply"] == reply["reply"]
        message_id = replied["message_id"]
        said = run(rate, tmp_path, **{"8000": str(port), reply["message_id"]: message_id})
    accepted, shown = json.JSONDecoder().raw_decode(said)[0], said[said.index("trace ID") :]
    assert accepted == receipt | {
        "message_id": message_id,
        "feedback_id": accepted["feedback_id"],
    }
    varying = re.compile(r"\b[0-9a-f]{32}\b|\d{4}-\d\d-\d\dT[\d:]+|\b\d+ s\b")
    assert varying.sub("…", shown.strip()) == varying.sub(
        "…", block("README", "console", "trace ID").strip()
    )


@pytest.mark.skipif(
    os.environ.get("TEST_INSTALLATION") != "true", reason="installs from the network"
)
def test_a_newcomers_folder_has_the_commands_for_the_first_vote(tmp_path: Path) -> None:
    run(block("README", "sh", "mkdir first-vote"), tmp_path, PIP, **{"path/to/checkout": str(ROOT)})
    commands = {path.name for path in (tmp_path / "first-vote" / ".venv" / "bin").iterdir()}
    assert {"flask", "newrelic-admin"} <= commands


def test_a_vote_arrives_with_the_commands_for_an_account(
    collector: Collector, tmp_path: Path
) -> None:
    port = free_port()
    commands = block("README", "sh", "gunicorn -w 2 app:app").replace("...", "0" * 40)
    arguments = f"--bind=127.0.0.1:{port} --no-control-socket"
    env = collector.environ() | {"GUNICORN_CMD_ARGS": arguments}
    with started(commands, tmp_path, env, port) as client:
        message_id = client.post("/chat", {"prompt": "hi"}).json["message_id"]
        vote = {"message_id": message_id, "rating": "good"}
        assert client.post("/feedback", vote).status == 202
        [event] = collector.wait_for(message_id=message_id)
    assert event["rating"] == "good"


def test_the_versions_that_are_named_are_declared_and_tried() -> None:
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


def test_each_of_the_two_commands_is_one_line() -> None:
    """The tests' command cannot run itself: `.ci/run` takes it from the README and runs it."""
    assert re.findall("^python3 -m venv .*$", README, re.MULTILINE) == [DEMO, TESTS]
    assert re.findall("^.*-m pytest$", README, re.MULTILINE)[0] == TESTS


@pytest.mark.skipif(
    os.environ.get("TEST_INSTALLATION") != "true",
    reason="installs from the network: set TEST_INSTALLATION=true",
)
def test_the_demos_command_runs_if_there_is_only_python(tmp_path: Path) -> None:
    """It needs nothing but `python3` on PATH."""
    checkout, tools = tmp_path / "checkout", tmp_path / "tools"
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    tools.mkdir()
    (tools / "python3").symlink_to(Path(sys.executable).resolve())
    command = [shutil.which("bash") or "bash", "-c", DEMO]
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
