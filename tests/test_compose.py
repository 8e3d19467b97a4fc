"""docker-compose.yml, without an engine to try it: its schema, its promises, its command."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from chatting import at_once
from conftest import needed
from http_client import Client
from processes import Group, ToolMissingError, environment, free_port, tail, wait_until
from redis_server import RedisServer, redis_binary

from feedback_blueprint.stores import store_from_url

ROOT = Path(__file__).parent.parent
FILE = ROOT / "docker-compose.yml"


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load(FILE.read_text())


def test_it_is_what_the_compose_schema_allows() -> None:
    with needed():
        if not importlib.util.find_spec("check_jsonschema"):
            raise ToolMissingError("no check-jsonschema: pip install check-jsonschema")
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    checked = subprocess.run([*checker, FILE], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_image_is_pinned_to_one_version(compose: Any) -> None:
    base = re.findall(
        r"^FROM (.+)$", compose["services"]["demo"]["build"]["dockerfile_inline"], re.M
    )
    images = [*base, *(s["image"] for s in compose["services"].values() if "image" in s)]
    assert len(set(images)) == 2
    for image in images:
        assert re.fullmatch(r"[a-z]+:\d+\.\d+\.\d+(-[a-z]+)*", image), image


def test_the_image_is_built_from_files_that_exist(compose: Any) -> None:
    dockerfile = compose["services"]["demo"]["build"]["dockerfile_inline"]
    for sources in re.findall(r"^COPY (.+) \S+$", dockerfile, re.M):
        for source in sources.split():
            assert (ROOT / source).exists(), source


def test_nothing_secret_is_in_it(compose: Any) -> None:
    """What is secret has no value here: compose passes it on from the caller's environment."""
    environ = compose["services"]["demo"]["environment"]
    secret = {name for name in environ if re.search("KEY|TOKEN|SECRET|PASSWORD", name)}
    assert secret == {"NEW_RELIC_LICENSE_KEY", "OPENAI_API_KEY"}
    assert {environ[name] for name in secret} == {None}
    assert not re.search(r"[0-9a-f]{32}|sk-\w{8}|NRAL", FILE.read_text())


def test_only_this_machine_reaches_it(compose: Any) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert ports == ["127.0.0.1:8000:8000"]


@pytest.mark.parametrize("name", ["redis", "redis-replica", "cluster-1", "cluster-2", "cluster-3"])
def test_redis_keeps_what_it_should(compose: Any, name: str) -> None:
    command = compose["services"][name]["command"]
    assert command.startswith("redis-server ")
    assert "--appendonly yes" in command
    assert "--maxmemory-policy volatile-ttl" in command
    assert re.search(r"--maxmemory \d+mb", command)


def test_the_demo_waits_for_a_healthy_redis_with_a_volume(compose: Any) -> None:
    redis = compose["services"]["redis"]
    assert "redis:/data" in redis["volumes"]
    assert redis["healthcheck"]["test"] == ["CMD", "redis-cli", "ping"]
    assert compose["services"]["demo"]["depends_on"] == {"redis": {"condition": "service_healthy"}}


def test_the_stores_of_the_profiles_are_in_the_profiles(compose: Any) -> None:
    """The URLs that the file's head names are understood, and their hosts are services."""
    urls = re.findall(r"FLASK_FEEDBACK_STORE_URL=(\S+)", FILE.read_text())
    assert len(urls) == 2
    for url, profile in zip(urls, ("sentinel", "cluster"), strict=True):
        store_from_url(url, timeout=1, instance_path="", key="FEEDBACK_STORE_URL")
        for host in re.findall(r"\w+-\d", url):
            assert compose["services"][host]["profiles"] == [profile]


def test_sentinels_configuration_is_what_a_sentinel_takes(
    compose: Any, redis_server: RedisServer, tmp_path: Path
) -> None:
    script = compose["services"]["sentinel-1"]["command"][-1]
    script = script.replace("/data", str(tmp_path)).replace("redis 6379", "127.0.0.1 6379")
    port = free_port()
    script = script.replace("exec redis-sentinel", f"exec {redis_binary()}")
    process = subprocess.Popen(
        ["sh", "-c", script.rstrip() + f" --sentinel --port {port}"], stdout=subprocess.DEVNULL
    )
    try:
        with closing(redis.Redis(port=port)) as client:
            masters = wait_until(lambda: answered(client.sentinel_masters), "Sentinel to answer")
        assert masters["feedback"]["quorum"] == 2
    finally:
        process.kill()
        process.wait()


def answered(ask: Any) -> Any:
    with suppress(redis.ConnectionError):
        return ask()


@contextmanager
def demo(service: Any, store_url: str, directory: Path) -> Iterator[tuple[Client, Path]]:
    """Run the very command and environment on this machine; a client, and the log."""
    client, log = Client(free_port()), directory / "log"
    command = [word.replace("$$", "$") for word in service["command"]]
    assert "-b 0.0.0.0:8000" in command[-1]
    command[-1] = command[-1].replace("0.0.0.0:8000", f"127.0.0.1:{client.port}")
    environ = {name: value for name, value in service["environment"].items() if value is not None}
    assert environ["FLASK_FEEDBACK_STORE_URL"].endswith(":-redis://redis:6379/0}")
    environ |= {
        "FLASK_FEEDBACK_STORE_URL": store_url,
        "HOME": str(directory),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    with log.open("wb") as output:
        process = Group(command, cwd=ROOT, env=environment(environ), stdout=output, stderr=output)

    def up() -> bool:
        assert process.poll() is None, tail(log)
        try:
            return client.get("/").status == 200
        except ConnectionError:
            return False

    try:
        wait_until(up, "the demo to answer")
        yield client, log
    finally:
        process.end()


def test_the_demos_command_runs_on_several_workers(
    compose: Any, redis_server: RedisServer, tmp_path: Path
) -> None:
    """No key is set, so it runs in developer mode."""
    with demo(compose["services"]["demo"], redis_server.fresh_url(), tmp_path) as (client, log):
        conversation = {"messages": [{"role": "user", "content": "hi"}]}
        for reply in at_once(lambda _: client.post("/chat", conversation), range(8)):
            vote = {"message_id": reply.headers["X-Message-ID"], "rating": "good"}
            answer = client.post("/feedback", vote)
            assert answer.status == 202, answer.text + tail(log)
        assert log.read_text().count("Booting worker") == 4
