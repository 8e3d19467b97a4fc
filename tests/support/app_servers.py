"""The servers of the agent's page, each started with the very command that is there.

The agent is not started by newrelic-admin, but as it does: see under_agent.py.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from documentation import SCRIPTS, block, text_of
from gunicorn_server import APPS
from http_client import Client
from processes import Group, Server, environment, free_port, tail, wait_until
from under_agent import BOOTSTRAP


class Row(NamedTuple):
    server: str
    command: str
    sends: str
    """Whether the agent sends what it holds when SIGTERM stops it: yes or no."""
    remedy: str
    """What makes it send, if it does not."""


def _rows() -> list[Row]:
    table = text_of("agent").partition("\n| server | start")[2].partition("\n\n")[0]
    cells = [re.split(r" *\| *", line.strip("| ")) for line in table.splitlines()[2:]]
    return [Row(name, command, sends, "".join(rest)) for name, command, sends, *rest in cells]


#: By the name of the server.
SERVERS = {row.server.strip("`"): row for row in _rows()}

ASGI = block("agent", "python", "a2wsgi")
FINALIZE = block("agent", "python", "Finalize")


class AppServer(Server, Client):
    """A server of tests/support/apps/chat.py under the agent; the page's `app.py` is this app."""

    def __init__(
        self, name: str, directory: Path, env: Mapping[str, str], *, remedied: bool = False
    ) -> None:
        super().__init__(port=free_port())
        self.log = directory / "server.log"
        self._directory = directory
        self._process: Group | None = None
        self._signal = signal.SIGTERM
        row, app = SERVERS[name], "from chat import app\n"
        command = row.command.strip("`").replace("8000", str(self.port))
        if remedied:
            if row.remedy == "SIGINT":
                self._signal = signal.SIGINT
            else:
                assert row.remedy == "`Finalize`, below"
                app += FINALIZE
        (directory / "app.py").write_text(app)
        (directory / "asgi.py").write_text(ASGI)
        self._env = environment(
            {
                "NEW_RELIC_STARTUP_TIMEOUT": "20",
                "NEW_RELIC_SHUTDOWN_TIMEOUT": "10",  # in 2.5 s, a busy machine may not send
                "PATH": os.pathsep.join([SCRIPTS, os.environ.get("PATH", "")]),
                "PYTHONPATH": os.pathsep.join(map(str, (BOOTSTRAP, directory, APPS))),
                "GUNICORN_CMD_ARGS": "--no-control-socket",  # it would be in the home directory
            }
            | dict(env)
        )
        if "gevent" in command:
            self._env.pop("COVERAGE_PROCESS_CONFIG", None)  # as in gunicorn_server.py
        self._command = shlex.split(command)

    def start(self) -> None:
        """Start it, and wait until it listens: it has answered nothing yet."""
        with self.log.open("ab") as output:
            self._process = Group(
                self._command,
                cwd=self._directory,
                env=self._env,
                stdout=output,
                stderr=output,
                # As in running_demo.py
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        try:
            wait_until(self._listens, "for it to listen")
        except AssertionError as error:
            raise AssertionError(f"{error}; its log:\n{tail(self.log)}") from None

    def _listens(self) -> bool:
        assert self._process
        assert self._process.poll() is None, "it ended"
        with suppress(OSError), closing(socket.create_connection(("127.0.0.1", self.port), 1)):
            return True
        return False

    def kill(self) -> None:
        process, self._process = self._process, None
        if process:
            process.end()

    def stop(self) -> None:
        """End it as a deployment does, and wait for it."""
        assert self._process
        self._process.send_signal(self._signal)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=60)
        self.kill()
