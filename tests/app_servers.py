"""Servers that people run Flask with, beside gunicorn: one process each, as its own page says."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from gunicorn_server import APPS
from http_client import Client
from processes import Group, Server, environment, free_port, wait_until

Command = Callable[[int], Sequence[str]]

#: What serves tests/apps/chat.py on a port.
SERVERS: dict[str, Command] = {
    "waitress": lambda port: ["-m", "waitress", f"--listen=127.0.0.1:{port}", "chat:app"],
    "uvicorn": lambda port: ["-m", "uvicorn", f"--port={port}", "asgi_chat:app"],
    "granian": lambda port: ["-m", "granian", "--interface=wsgi", f"--port={port}", "chat:app"],
    "uwsgi": lambda port: [
        *(str(Path(sys.executable).with_name("pyuwsgi")), f"--http-socket=127.0.0.1:{port}"),
        *("--module=chat:app", "--master", "--enable-threads", "--die-on-term", "--lazy-apps"),
    ],
    "flask run": lambda port: ["-m", "flask", "--app", "chat", "run", f"--port={port}"],
}


class AppServer(Server, Client):
    """A server under the agent, which waits for it with its first request."""

    def __init__(self, name: str, directory: Path, env: Mapping[str, str]) -> None:
        super().__init__(port=free_port())
        self.log = directory / "server.log"
        agent = [sys.executable, "-m", "newrelic.admin", "run-program", sys.executable]
        self._command = [*agent, *SERVERS[name](self.port)]
        timeout = {"NEW_RELIC_STARTUP_TIMEOUT": "20", "PYTHONPATH": str(APPS)}
        self._env = environment(timeout | dict(env))
        self._process: Group | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._process = Group(
                self._command, cwd=APPS, env=self._env, stdout=output, stderr=output
            )
        wait_until(self._answers, f"an answer; its log:\n{self.log.read_text()}")

    def _answers(self) -> bool:
        with suppress(OSError):
            return bool(self.get("/").json["trace_id"])
        return False

    def kill(self) -> None:
        process, self._process = self._process, None
        if process:
            process.end()

    def stop(self) -> None:
        """End it as a deployment does, and wait for it."""
        assert self._process
        self._process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=15)
        self.kill()
