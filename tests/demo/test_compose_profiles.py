"""The profiles of docker-compose.yml, their servers killed and started again: roles and votes.

The very commands of the file are run, as `composed` says. What an engine adds was only read: the
networks and their addresses, the volumes, the users, the order in which it starts the services.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest
import redis
from composed import SERVICES, Container, Loopback, redis_cli
from needed import needed
from outage import Chat
from processes import wait_until

from feedback_blueprint.testing import capture_feedback


class Profile:
    """The services of one profile that keep messages, and the app that its demo is."""

    def __init__(self, demo: str, directory: Path) -> None:
        loopback = Loopback()
        wanted = SERVICES[demo]["depends_on"]
        self.servers = {name: Container(name, directory, loopback) for name in wanted}
        url = SERVICES[demo]["environment"]["FLASK_FEEDBACK_STORE_URL"]
        self.url = loopback.instead(url.replace("//redis:", f"//{loopback.of('redis')}:"))
        self.taken: list[str] = []

    def start(self, *names: str) -> None:
        """Start some servers, or all."""
        servers = [self.servers[name] for name in names or self.servers]
        for server in servers:
            server.launch()
        for server in servers:
            server.wait_up()

    def kill(self, *names: str) -> None:
        """Kill some servers, or all."""
        for name in names or self.servers:
            self.servers[name].kill()

    def wait_healthy(self) -> None:
        for server in self.servers.values():
            wait_until(server.is_healthy, f"{server.name} to be healthy")

    @contextmanager
    def app(self) -> Iterator[Chat]:
        """An app of its own, as after each start."""
        chat = Chat(self.url)
        with capture_feedback(chat.app):
            yield chat

    def vote(self, votes: int = 20) -> None:
        """Have messages rated, and wait until what was acknowledged is written."""
        with self.app() as chat:
            made = [wait_until(chat.chat, "a message") for _ in range(votes)]
            assert {chat.rate(message_id) for message_id in made} == {202}
        self.taken += made
        for server in self.servers.values():
            with suppress(redis.ConnectionError, redis.ResponseError):
                wait_until(lambda: not written_later(server), "the file")  # noqa: B023  # called at once

    def lost(self) -> list[str]:
        """The messages whose vote is gone: to vote the same again is then no repetition."""
        with self.app() as chat:
            said = {message_id: chat.rate(message_id) for message_id in self.taken}
        return [message_id for message_id, status in said.items() if status != 200]


def written_later(server: Container) -> int:
    return int(server.info("persistence").get("aof_buffer_length", 0))


Start = Callable[[str], Profile]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start what a demo needs, and end it with the test."""
    with ExitStack() as stack:

        def start(demo: str) -> Profile:
            with needed():
                profile = Profile(demo, tmp_path)
            stack.callback(profile.kill)
            profile.start()
            return profile

        yield start


def test_the_one_redis_keeps_votes_when_it_is_killed(start: Start) -> None:
    profile = start("demo")
    profile.vote()
    profile.kill()
    profile.start()
    assert profile.lost() == []


# Sentinel


class Watched:
    """What the Sentinels and the two servers say of each other."""

    def __init__(self, profile: Profile) -> None:
        self._servers = profile.servers
        self._sentinels = [name for name in self._servers if name.startswith("sentinel")]

    def primary(self) -> str | None:
        """Whom all Sentinels name, if they agree and it takes writes."""
        named = set()
        for name in self._sentinels:
            command = "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "feedback"
            named.add(self._servers[name].ask(*command)[0].decode())
        for name in ("redis-1", "redis-2"):
            if named == {self._servers[name].address} and self._role(name) == "master":
                return name
        return None

    def _role(self, name: str) -> str | None:
        with suppress(redis.ConnectionError):
            return str(self._servers[name].info("replication")["role"])
        return None

    def _follows(self, replica: str, primary: str) -> bool:
        with suppress(redis.ConnectionError):  # a server whose role changes cuts its clients off
            said = self._servers[replica].info("replication")
            return (
                said["role"] == "slave"
                and said["master_host"] == self._servers[primary].address
                and said["master_link_status"] == "up"
                and said["slave_repl_offset"] == self._offset(primary)
                and self._knows(replica)
            )
        return False

    def _offset(self, primary: str) -> int:
        return int(self._servers[primary].info("replication")["master_repl_offset"])

    def _knows(self, replica: str) -> bool:
        """Whether each Sentinel would promote it."""
        for name in self._sentinels:
            known = str(self._servers[name].ask("SENTINEL", "REPLICAS", "feedback"))
            if self._servers[replica].address not in known:
                return False
            if any(word in known for word in ("s_down", "disconnected")):
                return False
        return True

    def wait(self, primary: str) -> None:
        """Wait until one is the primary for all, and the other follows it."""
        [replica] = {"redis-1", "redis-2"} - {primary}
        wait_until(lambda: self.primary() == primary, f"{primary} to be the primary", 90)
        wait_until(lambda: self._follows(replica, primary), f"{replica} to follow", 90)

    def wait_failover(self, primary: str) -> None:
        wait_until(lambda: self.primary() == primary, f"a failover to {primary}", 90)


@pytest.mark.long
def test_two_failovers_lose_no_vote_and_all_can_start_where_they_were(start: Start) -> None:
    """Between them the Sentinels alone, then all of it: `stop` and `start`, `down` and `up`."""
    profile = start("demo-sentinel")
    watched = Watched(profile)
    watched.wait("redis-1")
    profile.vote()
    profile.kill("redis-1")
    profile.start("redis-1")  # at once, as an engine does: it is what it was
    watched.wait("redis-1")
    profile.kill("redis-1")
    watched.wait_failover("redis-2")
    profile.vote()
    profile.start("redis-1")
    watched.wait("redis-2")
    sentinels = [name for name in profile.servers if name.startswith("sentinel")]
    profile.kill(*sentinels)
    profile.start(*sentinels)
    watched.wait("redis-2")
    profile.kill()
    profile.start()
    watched.wait("redis-2")
    assert profile.lost() == []
    profile.kill("redis-2")
    watched.wait_failover("redis-1")
    profile.vote()
    profile.start("redis-2")
    watched.wait("redis-1")
    assert profile.lost() == []


@pytest.mark.long
def test_servers_that_follow_each_other_get_a_primary(start: Start) -> None:
    """As after a start with roles that were not kept: with 2,000 ms neither was ever promoted."""
    profile = start("demo-sentinel")
    watched = Watched(profile)
    watched.wait("redis-1")
    profile.vote()
    watched.wait("redis-1")
    profile.kill("redis-1")
    profile.servers["redis-1"].volume.joinpath("redis.conf").write_text(
        f"replicaof {profile.servers['redis-2'].address} 6379\n"
    )
    profile.start("redis-1")
    watched.wait("redis-2")
    assert profile.lost() == []


# Cluster


def test_a_cluster_is_made_once_and_keeps_its_votes(start: Start) -> None:
    """One node for itself, then `down` and `up`; what somebody has changed of it stays, too."""
    profile = start("demo-cluster")
    made = wait_until(lambda: slots_of(profile), "the cluster")
    assert {*made.values()} == {server.address for server in profile.servers.values()}
    move(profile, 0, "cluster-1", "cluster-3")
    moved = made | {0: profile.servers["cluster-3"].address}
    wait_until(lambda: slots_of(profile) == moved, "a slot to be moved")
    profile.vote()
    for killed in (["cluster-2"], []):
        profile.kill(*killed)
        profile.start(*killed)
        assert wait_until(lambda: slots_of(profile), "the cluster") == moved
        assert profile.lost() == []


def slots_of(profile: Profile) -> dict[int, str] | None:
    """Which address serves each slot, if all nodes are of one mind."""
    found = []
    for server in profile.servers.values():
        if b"cluster_state:ok" not in server.ask("CLUSTER", "INFO"):
            return None
        slots = {}
        for first, last, node, *_ in server.ask("CLUSTER", "SLOTS"):
            slots |= dict.fromkeys(range(first, last + 1), node[0].decode())
        found.append(slots)
    return found[0] if all(slots == found[0] for slots in found) else None


def move(profile: Profile, slot: int, source: str, target: str) -> None:
    ids = {name: profile.servers[name].ask("CLUSTER", "MYID") for name in (source, target)}
    profile.servers[target].ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
    profile.servers[source].ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
    for name in (target, source):
        profile.servers[name].ask("CLUSTER", "SETSLOT", slot, "NODE", ids[target])


# Health


@pytest.mark.parametrize(
    ("demo", "left", "killed"),
    [
        ("demo", "redis", []),
        ("demo-sentinel", "sentinel-1", ["sentinel-2", "sentinel-3"]),
        ("demo-cluster", "cluster-1", ["cluster-2"]),
    ],
)
def test_what_serves_is_healthy_and_what_cannot_or_is_killed_is_not(
    start: Start, demo: str, left: str, killed: list[str]
) -> None:
    """A Sentinel cannot without a majority, nor a node of a cluster without the others."""
    with needed():
        redis_cli()
    profile = start(demo)
    profile.wait_healthy()
    profile.kill(*killed or [left])
    wait_until(lambda: not profile.servers[left].is_healthy(), f"{left} to be unhealthy")
    for name, server in profile.servers.items():
        server.kill()
        assert not server.is_healthy(), name


def test_a_redis_that_loads_its_data_is_not_healthy(start: Start) -> None:
    with needed():
        redis_cli()
    profile = start("demo")
    [server] = profile.servers.values()
    with closing(server.client()) as client:
        pipeline = client.pipeline(transaction=False)
        for number in range(10_000):
            pipeline.set(f"key {number}", "x")
        pipeline.execute()
        client.bgrewriteaof()  # which makes the file one that is loaded in small steps
        wait_until(lambda: server.info("persistence")["aof_base_size"] > 10_000, "the file")
    server.kill()
    server.launch("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
    wait_until(lambda: "LOADING" in said_by(server), "Redis to load")
    assert not server.is_healthy()
    assert "LOADING" in said_by(server), "it had loaded before it was asked"


def said_by(server: Container) -> str:
    try:
        return str(server.ask("PING"))
    except redis.BusyLoadingError:
        return "LOADING"
    except redis.ConnectionError as error:
        return str(error)
