"""docker-compose.yml, without an engine: its schema, its promises, its image, its demo.

What an engine makes of it was only read: a root that is read-only, capabilities, limits of memory,
networks, the order of the start, and that `up` builds.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from chatting import at_once
from composed import COMPOSE, FILE, SERVICES, Container, Loopback, interpolated, words
from http_client import Client
from installing import PIP
from needed import needed
from processes import Group, ToolMissingError, environment, free_port, tail, wait_until

from feedback_blueprint.stores import store_from_url

ROOT = FILE.parent
TEXT = FILE.read_text()
DEMOS = [name for name in SERVICES if name.startswith("demo")]
SERVERS = [name for name in SERVICES if name not in DEMOS]
DOCKERFILE = SERVICES["demo"]["build"]["dockerfile_inline"].replace("\\\n", "")
INSTRUCTIONS = [line.split(" ", 1) for line in DOCKERFILE.splitlines()]
CHECK = re.search("docker compose exec demo (.+ check)`", TEXT)[1]  # type: ignore[index]  # it is there


def test_the_file_is_what_the_compose_schema_allows() -> None:
    with needed():
        if not importlib.util.find_spec("check_jsonschema"):
            raise ToolMissingError("no check-jsonschema: pip install check-jsonschema")
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    checked = subprocess.run([*checker, FILE], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_image_is_pinned_to_one_version() -> None:
    bases = [base for instruction, base in INSTRUCTIONS if instruction == "FROM"]
    images = [*bases, *(SERVICES[name]["image"] for name in SERVERS)]
    assert len(set(images)) == 2
    for image in images:
        assert re.fullmatch(r"[a-z]+:\d+\.\d+\.\d+(-[a-z]+)*", image), image


def test_nothing_secret_is_in_the_file() -> None:
    """What is secret has no value here: compose passes it on from the caller's environment."""
    for name in DEMOS:
        environ = SERVICES[name]["environment"]
        secret = {key for key in environ if re.search("KEY|TOKEN|SECRET|PASSWORD", key)}
        assert secret == {"NEW_RELIC_LICENSE_KEY", "OPENAI_API_KEY"}
        assert {environ[key] for key in secret} == {None}
    assert not re.search(r"[0-9a-f]{40}|sk-\w{8}|NRAL", re.sub("0{39}[123]", "", TEXT))


def test_only_this_machine_reaches_the_demos() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert [interpolated(port, {}) for port in ports] == [
        "127.0.0.1:8000:8000",
        "127.0.0.1:8001:8000",
        "127.0.0.1:8002:8000",
    ]


def test_a_second_copy_has_a_port_of_its_own_and_nothing_fixed() -> None:
    assert interpolated(SERVICES["demo"]["ports"][0], {"PORT": "8010"}) == "127.0.0.1:8010:8000"
    assert not any(
        "networks" in service or "container_name" in service
        for service in SERVICES.values()
        if "profiles" not in service
    )
    assert "default" not in COMPOSE["networks"]


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_has_a_volume_a_health_check_and_a_memory_limit(name: str) -> None:
    service = SERVICES[name]
    assert service["volumes"] == [f"{name}:/data"]
    assert name in COMPOSE["volumes"]
    assert service["user"] == "redis"
    assert "-e" in " ".join(service["healthcheck"]["test"]).split()
    assert service["healthcheck"]["start_period"]
    if not name.startswith("sentinel"):
        command = " ".join(words(service["command"]))
        assert "--appendonly yes" in command
        assert "--maxmemory-policy volatile-ttl" in command
        assert "--maxmemory 256mb" in command
        assert service["mem_limit"] == "1g"


@pytest.mark.parametrize("name", DEMOS)
def test_a_demo_has_a_store_of_its_own_profile_and_waits_for_all_of_it(name: str) -> None:
    service = SERVICES[name]
    url = service["environment"]["FLASK_FEEDBACK_STORE_URL"]
    store_from_url(url, timeout=1, instance_path="", key="FEEDBACK_STORE_URL")
    of_the_profile = {
        other for other in SERVERS if SERVICES[other].get("profiles") == service.get("profiles")
    }
    assert set(re.findall(r"[a-z]+-\d|(?<=//)redis", url)) <= of_the_profile
    assert set(service["depends_on"]) == of_the_profile
    assert all(each == {"condition": "service_healthy"} for each in service["depends_on"].values())
    assert {tuple(SERVICES[each].get("networks", ())) for each in of_the_profile} == {
        tuple(service.get("networks", ()))
    }


@pytest.mark.parametrize("name", DEMOS)
def test_a_demo_may_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is service["init"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert [each.split(":")[0] for each in service["tmpfs"]] == ["/tmp", "/home/demo"]
    assert service["pull_policy"] == "build"


# The image


def test_the_image_is_built_from_files_that_exist() -> None:
    for instruction, what in INSTRUCTIONS:
        if instruction == "COPY":
            for source in what.split()[:-1]:
                assert (ROOT / source).exists(), source


def test_an_edit_of_the_readme_or_the_sources_installs_nothing_anew() -> None:
    copies = [n for n, each in enumerate(INSTRUCTIONS) if each[0] == "COPY"]
    assert INSTRUCTIONS[copies[0]][1] == "pyproject.toml ./"
    later = [what for instruction, what in INSTRUCTIONS[copies[1] :] if instruction == "RUN"]
    assert [what.split()[-3:] for what in later] == [["--no-deps", "--no-build-isolation", "."]]


@pytest.mark.skipif(
    os.environ.get("TEST_INSTALLATION") != "true",
    reason="installs from the network: set TEST_INSTALLATION=true",
)
def test_the_instructions_of_the_image_install_the_demo(tmp_path: Path) -> None:
    """They are run here, in an environment in place of the image's Python."""
    with needed():
        if not importlib.util.find_spec("tomllib"):
            raise ToolMissingError("no tomllib: use Python 3.11 or newer, as the image does")
    python, source = tmp_path / "python", tmp_path / "src"
    subprocess.run([sys.executable, "-m", "venv", python], check=True)
    source.mkdir()
    environ = environment(PIP | {"PATH": f"{python / 'bin'}:/usr/bin:/bin"})
    for instruction, what in INSTRUCTIONS:
        if instruction == "COPY":
            *names, target = what.split()
            for name in names:
                if (ROOT / name).is_dir():
                    shutil.copytree(ROOT / name, source / target)
                else:
                    shutil.copy(ROOT / name, source / target)
        elif instruction == "RUN" and not what.startswith("useradd"):
            subprocess.run(["/bin/sh", "-c", what], cwd=source, env=environ, check=True)
    shutil.rmtree(source)
    shown = subprocess.run(
        ["flask", "feedback", "dashboard"],
        env=environ | {"FLASK_APP": SERVICES["demo"]["environment"]["FLASK_APP"]},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "LlmFeedbackMessage" in shown.stdout, shown.stderr
    assert (python / "bin" / "gunicorn").exists()


# The demo


class ComposedDemo(Client):
    """The demo's command and environment on this machine, on a port of its own."""

    def __init__(self, store_url: str, directory: Path, caller: Mapping[str, str]) -> None:
        super().__init__(free_port())
        self._service = SERVICES["demo"]
        self.log = directory / "log"
        self._environ = {
            name: interpolated(value, caller)
            for name, value in self._service["environment"].items()
            if value is not None
        } | {
            "FLASK_FEEDBACK_STORE_URL": store_url,
            "HOME": str(directory),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a command, as `docker compose exec` and the health check do."""
        return subprocess.run(
            self._here(command),
            env=environment(self._environ),
            capture_output=True,
            text=True,
            check=False,
        )

    def _here(self, command: list[str]) -> list[str]:
        addresses = "0.0.0.0:8000", "127.0.0.1:8000"
        for address in addresses:
            command = [word.replace(address, f"127.0.0.1:{self.port}") for word in command]
        return command

    @contextmanager
    def running(self) -> Iterator[None]:
        command = self._here(words(self._service["command"]))
        with self.log.open("wb") as output:
            process = Group(
                command, cwd=ROOT, env=environment(self._environ), stdout=output, stderr=output
            )

        def answers() -> bool:
            assert process.poll() is None, tail(self.log)
            with suppress(ConnectionError):
                return self.get("/").status == 200
            return False

        try:
            wait_until(answers, "the demo to answer")
            yield
        finally:
            process.end()

    def is_healthy(self) -> bool:
        kind, *test = self._service["healthcheck"]["test"]
        assert kind == "CMD"
        return self.run(test).returncode == 0


@pytest.fixture
def store_url(tmp_path: Path) -> Iterator[str]:
    """The demo's Redis, as the file has it."""
    with needed():
        loopback = Loopback()
        server = Container("redis", tmp_path, loopback)
        server.launch()
    try:
        server.wait_up()
        url = SERVICES["demo"]["environment"]["FLASK_FEEDBACK_STORE_URL"]
        yield url.replace("//redis:", f"//{server.address}:")
    finally:
        server.kill()


def test_the_demo_runs_on_several_workers_and_nothing_but_its_trial_is_found_wrong(
    store_url: str, tmp_path: Path
) -> None:
    """No key is set, so it runs in developer mode."""
    demo = ComposedDemo(store_url, tmp_path, {})
    assert not demo.is_healthy()
    with demo.running():
        assert demo.is_healthy()
        conversation = {"messages": [{"role": "user", "content": "hi"}]}
        for reply in at_once(lambda _: demo.post("/chat", conversation), range(8)):
            vote = {"message_id": reply.headers["X-Message-ID"], "rating": "good"}
            answer = demo.post("/feedback", vote)
            assert answer.status == 202, answer.text + tail(demo.log)
        assert demo.log.read_text().count("Booting worker") == 4
        checked = demo.run(shlex.split(CHECK))
        [wrong] = [line for line in checked.stdout.splitlines() if line.startswith("\N{BALLOT X}")]
        assert "in developer mode: nothing is sent" in wrong, checked.stdout + checked.stderr


def test_a_license_key_turns_the_developer_mode_off(tmp_path: Path) -> None:
    asked = "import newrelic.agent as a; print(a.global_settings().developer_mode)"
    for key, mode in ("", "True"), ("1" * 40, "False"):
        demo = ComposedDemo("", tmp_path, {"NEW_RELIC_LICENSE_KEY": key})
        said = demo.run(["python", "-c", asked])
        assert said.stdout.strip() == mode
