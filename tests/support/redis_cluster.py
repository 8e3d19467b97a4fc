"""A Redis cluster of the tests' own, whose slots can move."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from certificates import Certificate
from processes import Server, free_port, wait_until
from redis import ResponseError
from redis_server import RedisServer, start_all


class RedisCluster(Server):
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
        buses = [free_port() for _ in range(size * (2 if replicas else 1))]
        self.servers = [
            RedisServer(directory / str(bus), tls=tls, **options, cluster_port=bus) for bus in buses
        ]
        self.nodes, self.replicas = self.servers[:size], self.servers[size:]
        self._bus = dict(zip(self.servers, buses, strict=True))

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
        start_all(self.servers)
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
            wait_until(lambda: self._knows_all(server), "a node to know the others")  # noqa: B023  # called at once
        for node, replica in zip(self.nodes, self.replicas, strict=False):
            replica.ask("CLUSTER", "REPLICATE", node.ask("CLUSTER", "MYID").decode())
        self.wait_ok()
        for node in self.nodes if self.replicas else ():
            wait_until(lambda: self._has_replica(node), "a replica")  # noqa: B023  # called at once

    def wait_ok(self) -> None:
        """Wait until every node that runs says that all slots are served."""
        for server in self.servers:
            wait_until(lambda: self._ok(server), "the cluster to be ok")  # noqa: B023  # called at once

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

    @contextmanager
    def unserved(self, key: str) -> Iterator[None]:
        """Inside, no node serves the slot of `key`."""
        slot = self.slot(key)
        owner = self.node_of_slot(slot)
        for node in (owner, *self.nodes):  # the owner first: until then it tells the others so
            wait_until(lambda: self._forgets(node, slot), "a slot to be forgotten")  # noqa: B023  # called at once
        try:
            yield
        finally:
            owner.ask("CLUSTER", "ADDSLOTS", slot)

    def _forgets(self, node: RedisServer, slot: int) -> bool:
        """Whether `node` knew of nobody who serves `slot`; it does not afterwards."""
        try:
            node.ask("CLUSTER", "DELSLOTS", slot)
        except ResponseError:  # it is "already unassigned"
            return True
        return False

    def _knows_all(self, server: RedisServer) -> bool:
        known = server.ask("CLUSTER", "NODES").decode()
        return known.count("\n") == len(self.servers) and "handshake" not in known

    def _ok(self, server: RedisServer) -> bool:
        return not server.running or b"cluster_state:ok" in server.ask("CLUSTER", "INFO")

    def _has_replica(self, node: RedisServer) -> bool:
        return bool(node.info("replication").get("slave0", {}).get("state") == "online")
