"""Redis servers of the tests' own that Sentinels watch."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import redis
from certificates import Certificate
from processes import wait_until
from redis_server import Databases, RedisServer, redis_binary, start_all


class SentinelServer(RedisServer):
    """One of the processes that watch a primary. They are told of each other, to start fast."""

    def configure(self, *lines: str) -> None:
        options = {"bind": "127.0.0.1", "port": self.port, "dir": self.directory}
        text = [f"{name} {value}" for name, value in (options | self._tls_options()).items()]
        (self.directory / "sentinel.conf").write_text("\n".join([*text, *lines, ""]))

    def _command(self) -> list[str]:
        return [redis_binary(), str(self.directory / "sentinel.conf"), "--sentinel"]


class RedisSentinel(Databases):
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

    def _url(self, database: int) -> str:
        hosts = ",".join(sentinel.address for sentinel in self.sentinels)
        if self.tls:
            query = f"ssl_ca_certs={self.tls.authority}"
            query += f"&sentinel_{query}"
            return f"rediss+sentinel://{hosts}/{self.service}/{database}?{query}"
        return f"redis+sentinel://{hosts}/{self.service}/{database}"

    def start(self) -> None:
        start_all(self.servers)
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
