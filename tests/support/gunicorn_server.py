"""gunicorn serving the apps of the tests, under the New Relic agent."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, suppress
from http.client import HTTPException
from pathlib import Path
from typing import ClassVar

from http_client import Client, Response
from processes import Group, Server, environment, tail

APPS = Path(__file__).with_name("apps")

CONFIG = "control_socket_disable = True\n"  # it would be shared, in the home directory

#: As newrelic-admin run-program does, without a process of its own, and without a look at every
#: installed file for the version of Flask.
AGENT = """
import importlib.metadata, newrelic.agent
importlib.metadata.packages_distributions = dict
newrelic.agent.initialize()
"""

#: Not the app and not us: only what takes each worker longest. Gevent patches before it imports.
LIBRARIES = "import flask, marshmallow, redis\n"

#: A worker takes requests only once its agent is connected.
CONNECTED = """
def post_worker_init(worker):
    newrelic.agent.register_application(timeout=20.0)
"""


class Gunicorn(Server, Client):
    """A gunicorn of the tests' own, under the New Relic agent.

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
        connected: bool = True,
        workers: int = 1,
        worker_class: str = "sync",
        threads: int = 1,
        options: Sequence[str] = (),
    ) -> None:
        super().__init__(port=0)
        self.log = directory / "gunicorn.log"
        self._directory = directory
        self._env = environment(env)
        if worker_class == "gevent":
            # Unmeasured: the setting for it holds for the tests, too, and hangs them. There a weak
            # reference calls back as a thread ends; if then another one does, CPython 3.11, tracing
            # the call, never leaves it.
            self._env.pop("COVERAGE_PROCESS_CONFIG", None)
        config = directory / "gunicorn.conf.py"
        config.write_text(
            CONFIG
            + AGENT
            + (LIBRARIES if worker_class != "gevent" else "")
            + (CONNECTED if connected else "")
        )
        self._command = [sys.executable, "-m", "gunicorn", app, f"--config={config}"]
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
                    env=self._env,
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

    def __exit__(self, *exc: object) -> None:
        if exc != (None, None, None):
            print(tail(self.log), file=sys.stderr)
        if self._process and "COVERAGE_PROCESS_CONFIG" in self._env:
            self.stop()  # only at its own end does a worker tell what it ran
        self.kill()

    def stop(self) -> None:
        """End it as a deployment does: requests are finished, the agent sends what it has."""
        assert self._process
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=15)
        self.kill()


#: What the fixture `chat_server` is.
StartServer = Callable[..., AbstractContextManager[Gunicorn]]
