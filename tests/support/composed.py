"""The services of docker-compose.yml as processes, for machines without an engine.

What an engine would do is done by hand. Each service has its address on loopback, so that each has
its usual port, and its volume is a directory. `redis-server` and `redis-sentinel` are what is
installed here, not the version that the image has.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import redis
import yaml
from processes import WORKER, Group, ToolMissingError, tail, wait_until
from redis_server import redis_binary

FILE = Path(__file__).parents[2] / "docker-compose.yml"

COMPOSE: Any = yaml.safe_load(FILE.read_text())

SERVICES: Any = COMPOSE["services"]

#: What a primary waits for before it brings a replica up to date, if others come: 5 s by default.
AT_ONCE = "--repl-diskless-sync-delay 0"

#: What an image does that has no settings: it listens on each of its own addresses, for everybody.
AS_IN_THE_IMAGE = """#!/bin/sh
exec {binary} "$@" {mode} --protected-mode no --dir {data} \\
    --bind {address} --bind-source-addr {address}
"""


def interpolated(text: str, environ: Mapping[str, str]) -> str:
    """Put in what compose does: `${NAME:-default}`, and `$$` for a dollar."""

    def value(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return environ.get(found["name"]) or found["default"]

    return re.sub(r"\$\$|\$\{(?P<name>\w+):-(?P<default>[^}]*)\}", value, text)


def words(command: str | list[str], environ: Mapping[str, str] | None = None) -> list[str]:
    """Split a command as compose does."""
    listed = shlex.split(command) if isinstance(command, str) else command
    return [interpolated(word, environ or {}) for word in listed]


class Loopback:
    """Addresses on loopback in place of those of the file's networks, which nobody else uses."""

    def __init__(self) -> None:
        first = 1 + 24 * (WORKER % 8) + os.getpid() % 24
        for number in range(first, first + 50):
            self._network = f"127.{number}"
            if _is_free(f"{self._network}.77.11"):
                return
        raise ToolMissingError("no port 6379 is free on loopback")

    def of(self, service: str) -> str:
        """The address of a service."""
        for network in SERVICES[service].get("networks", {}).values():
            return self.instead(network["ipv4_address"])
        return f"{self._network}.77.11"

    def instead(self, text: str) -> str:
        """Text with these addresses in place of those of the file, and of services' names."""
        text = text.replace("172.28.", f"{self._network}.")
        return re.sub(r"\b(sentinel|cluster)-\d", lambda found: self.of(found[0]), text)


def _is_free(address: str) -> bool:
    with closing(socket.socket()) as probe:
        try:
            probe.bind((address, 6379))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise ToolMissingError("127.0.0.1 is the one loopback address") from error
    return True


class Container:
    """One of the services that run Redis; its volume outlives it."""

    port = 6379

    def __init__(self, service: str, directory: Path, loopback: Loopback) -> None:
        self._service = SERVICES[service]
        self.name, self.address = service, loopback.of(service)
        self._loopback = loopback
        self._home = directory / service
        [volume] = self._service["volumes"]
        name, self._mounted = volume.split(":")
        assert name in COMPOSE["volumes"]
        self.volume = directory / "volumes" / name
        self._process: Group | None = None
        if "redis-sentinel" in str(self._service["command"]):
            self.port = 26379

    def launch(self, *options: str) -> None:
        """Start it, and do not wait; with options of the server's, if there are any."""
        self.volume.mkdir(parents=True, exist_ok=True)
        programs = self._home / "bin"
        programs.mkdir(parents=True, exist_ok=True)
        for program, mode in (("redis-server", AT_ONCE), ("redis-sentinel", "--sentinel")):
            text = AS_IN_THE_IMAGE.format(
                binary=redis_binary(),
                mode=" ".join([mode, *options]),
                address=self.address,
                data=self.volume,
            )
            (programs / program).write_text(text)
            (programs / program).chmod(0o755)
        environ = self._service.get("environment", {})
        environ = {name: self._here(value) for name, value in environ.items()}
        with (self._home / "log").open("ab") as output:
            self._process = Group(
                [self._here(word) for word in words(self._service["command"])],
                cwd=self.volume,
                env=environ | {"PATH": f"{programs}:/usr/bin:/bin"},
                stdout=output,
                stderr=output,
            )

    def _here(self, text: str) -> str:
        return self._loopback.instead(text).replace(f"{self._mounted}/", f"{self.volume}/")

    def kill(self) -> None:
        """End it at once; what it had written stays."""
        process, self._process = self._process, None
        if process:
            process.end()

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(f"redis://{self.address}:{self.port}", socket_timeout=5)

    def ask(self, *command: object) -> Any:
        """Have one command executed."""
        with self.client() as client:
            return client.execute_command(*command)

    def info(self, section: str) -> dict[str, Any]:
        with self.client() as client:
            return dict(client.info(section))

    def wait_up(self) -> None:
        def answers() -> bool:
            assert self._process
            assert self._process.poll() is None, f"{self.name} ended:\n{tail(self._home / 'log')}"
            with suppress(redis.RedisError):
                return bool(self.ask("PING"))
            return False

        wait_until(answers, f"{self.name} to answer PING")

    def is_healthy(self) -> bool:
        """Run its health check, as the engine would inside of it."""
        kind, *test = self._service["healthcheck"]["test"]
        command = test if kind == "CMD" else ["sh", "-c", *test]
        cli = f'{redis_cli()} -h {self.address} "$@"'
        script = self._home / "bin" / "redis-cli"
        script.write_text(f"#!/bin/sh\nexec {cli}\n")
        script.chmod(0o755)
        environ = {"PATH": f"{script.parent}:/usr/bin:/bin"}
        return (
            subprocess.run(command, env=environ, capture_output=True, check=False).returncode == 0
        )


def redis_cli() -> str:
    """The client that the health checks are made with."""
    if found := shutil.which("redis-cli") or shutil.which("valkey-cli"):
        return found
    raise ToolMissingError("no redis-cli: install redis-tools")
