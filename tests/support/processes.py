"""Real processes for tests, ended by process id, whatever happens; and what to wait for."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self


class ToolMissingError(Exception):
    """Something that cannot be installed with pip is not on this machine."""


def wait_until(condition: Callable[[], Any], what: str, timeout: float = 60) -> Any:
    """The condition's first true value; for what can only be asked, not awaited."""
    begin = time.monotonic()
    while not (value := condition()):
        waited = time.monotonic() - begin
        if waited > timeout:
            raise AssertionError(f"waited {timeout} s: {what}")
        # The one place where tests poll: what takes long is asked less often.
        time.sleep(min(max(waited / 20, 0.05), 0.5))
    return value


WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))

#: Each process that runs tests has a range of its own, below the ports that the system gives to
#: clients. So a server that is ended and started again finds its port free.
PORTS = itertools.count(10_000 + 2_000 * (WORKER % 5) + os.getpid() % 1_000)

#: The same ports for UDP, which nothing here speaks. While this process has one, no other process
#: that runs tests takes that port.
RESERVED: list[socket.socket] = []


def free_port() -> int:
    for port in PORTS:
        with ExitStack() as probes, suppress(OSError):
            for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
                probe = probes.enter_context(socket.socket(type=kind))
                probe.bind(("127.0.0.1", port))
            RESERVED.append(socket.socket(fileno=probe.detach()))
            return port
    raise AssertionError


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


class Server:
    """What a test starts, and kills in the end: `with RedisServer(directory) as server`."""

    def start(self) -> None:
        """Start it, and wait until it serves."""
        raise NotImplementedError

    def kill(self) -> None:
        """End it at once, as a crash would."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without settings that would leak into a server, plus `extra`."""
    foreign = ("NEW_RELIC_", "FLASK_", "GUNICORN_", "OPENAI_", "PYTEST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {"PYTHONUNBUFFERED": "1"} | dict(extra)


def tail(log: Path, lines: int = 40) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
