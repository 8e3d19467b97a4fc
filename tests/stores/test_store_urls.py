"""What a store's URL may be; an error tells what is wrong with one, but no secret of it."""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from typing import Any

import pytest
import redis
from flask import Flask
from host_app import make_app
from redis_cluster import RedisCluster

from feedback_blueprint import ConfigurationError, FeedbackBlueprint
from feedback_blueprint.config import Settings
from feedback_blueprint.stores import RedisStore, SQLiteStore, store_from_url
from feedback_blueprint.stores.redis.urls import client_from_url


def settings(url: str) -> Settings:
    feedback = FeedbackBlueprint()
    app = make_app(feedback, FEEDBACK_STORE_URL=url)
    read: Settings = app.extensions["feedback_blueprint"][feedback].settings
    return read


@pytest.mark.parametrize(
    "url",
    [
        "",
        "postgres://h/db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite://host/path",
        "sqlite:relative.db",
        "sqlite:/file.db",
        "sqlite:///",
        "sqlite:////",
        "sqlite:///file.db?mode=ro",
        "sqlite:///file.db#1",
        "redis://localhost:port/0",
        "redis://localhost:6379/0?socket_timeout=soon",
        "redis://two..dots",
        "redis+cluster://two..dots",
        "redis+sentinel://two..dots/primary",
    ],
)
def test_a_url_that_cannot_be_read_is_refused_with_a_remedy(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"FEEDBACK_STORE_URL .* Give redis://"):
        settings(url)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://localhost/zero", "a database is one number"),
        ("redis://localhost/-1", "a database is one number, from 0"),
        ("redis://localhost?db=-1", "a database is one number, from 0"),
        ("redis+sentinel://localhost/primary/-1", "a database is one number, from 0"),
        ("redis+sentinel://localhost/primary?db=-1", "a database is one number, from 0"),
        ("redis://localhost/0/1", "a database is one number"),
        ("redis+sentinel://localhost/primary/0/1", "a database is one number"),
        ("redis://localhost?socket_timeout=0", "socket_timeout is a number of seconds, over 0"),
        ("rediss://localhost?socket_timeout=-1", "socket_timeout is"),
        ("unix:///s?socket_connect_timeout=nan", "socket_connect_timeout is"),
        ("redis+cluster://localhost?socket_timeout=inf", "socket_timeout is .* and finite"),
        ("redis+sentinel://localhost/primary?socket_timeout=0", "socket_timeout is"),
        ("redis+sentinel://localhost/primary?sentinel_socket_timeout=0", "socket_timeout is"),
        ("redis://localhost?encoding=nonsense", "unknown encoding"),
        ("redis+cluster://localhost?encoding=nonsense", "unknown encoding"),
        ("redis+sentinel://localhost/primary?encoding=nonsense", "unknown encoding"),
        ("redis://localhost?encoding=latin-1", "a key is UTF-8"),
        ("redis+cluster://localhost?encoding=utf-16", "a key is UTF-8"),
        ("redis+sentinel://localhost/primary?encoding=ascii", "a key is UTF-8"),
        ("sqlite:///a%00b", "a path cannot have a NUL"),
        ("unix://", "no path"),
        ("unix:///?db=1", "no path"),
        ("redis://localhost?colour=red", "redis-py cannot use an option, .*'colour'"),
        ("redis+cluster://localhost?colour=red", "'colour'"),
        ("redis+sentinel://localhost/primary?colour=red", "'colour'"),
        ("redis+sentinel://localhost/primary?sentinel_colour=red", "'colour'"),
        ("redis://localhost?retry=3", "redis-py cannot use an option"),
        ("redis+sentinel://localhost/primary?retry=3", "redis-py cannot use an option"),
        ("redis://localhost?protocol=9", "protocol"),
        ("redis://localhost?ssl=true", "'ssl'"),
        ("redis://localhost?single_connection_client=1", "'single_connection_client'"),
        ("redis+cluster://localhost?startup_nodes=a", "'startup_nodes'"),
        ("redis+sentinel://localhost", "names its service"),
        ("redis+cluster://", "a host without a name"),
        ("redis+cluster://localhost:6379,:6380", "a host without a name"),
        ("redis+cluster://localhost/3", "a cluster has one database"),
        ("redis+cluster://localhost?db=3", "a cluster has one database"),
        ("redis://localhost?decode_responses=true", "decode_responses"),
        ("redis+cluster://localhost?decode_responses=true", "decode_responses"),
    ],
)
def test_a_url_that_cannot_work_is_refused_with_the_reason(url: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"FEEDBACK_STORE_URL .*{why}.* Give redis://"):
        settings(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://localhost/",
        "redis://localhost/1/",
        "redis://localhost?db=1&socket_timeout=0.1&socket_connect_timeout=1&encoding=utf8",
        "unix:///run/redis.sock?db=1",
        "redis+cluster://localhost/0",
        "redis+cluster://localhost?db=0",
        "redis+cluster://localhost?read_from_replicas=1&reinitialize_steps=5&client_name=a",
        "redis+cluster://localhost?dynamic_startup_nodes=false&max_connections=10",
        "redis+sentinel://localhost/primary",
        "redis+sentinel://localhost/primary/3?client_name=a&sentinel_client_name=b",
        "redis+sentinel://localhost/primary?sentinel_socket_timeout=0.1",
    ],
)
def test_what_the_client_of_a_url_takes_can_be_set_there(url: str) -> None:
    assert settings(url).store_url == url


def test_what_is_in_the_url_of_sentinels_is_the_primarys() -> None:
    url = "redis+sentinel://ann:hunter2@one:1,two:2/primary/3?client_name=bot"
    client = client_from_url(url, timeout=1)()
    assert isinstance(client, redis.Redis)
    used = client.connection_pool.connection_kwargs
    assert (used["username"], used["password"]) == ("ann", "hunter2")
    assert (used["db"], used["client_name"]) == (3, "bot")


def test_sentinels_share_the_time_of_one_attempt() -> None:
    """They are asked one after the other, so that with two, a dead one costs no vote."""
    client: Any = client_from_url("redis+sentinel://one,two/primary", timeout=1)()
    asked = client.connection_pool.sentinel_manager.sentinels
    for bound in "socket_timeout", "socket_connect_timeout":
        assert sum(each.connection_pool.connection_kwargs[bound] for each in asked) == 1


@pytest.mark.parametrize(("place", "db"), [("", 0), ("/3", 3), ("?db=3", 3)])
def test_sentinels_take_the_database_of_the_path_or_the_query(place: str, db: int) -> None:
    client = client_from_url(f"redis+sentinel://one/primary{place}", timeout=1)()
    assert isinstance(client, redis.Redis)
    assert client.connection_pool.connection_kwargs["db"] == db


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:hunter2@localhost:port/0?password=hunter3",
        "redis://:hunter2",
        "redis://:hunter2/0?db=x",
        "redis://:hunter2/hunter3@localhost:port",
        "redis://:hunter2?hunter3@localhost:port",
        "redis://localhost:port?password=hunter2@hunter3",
        "redis:/:hunter2@localhost/0",
        "redis//:hunter2@localhost/0",
        "redis:://user:hunter2@localhost",
        "Redis:hunter2@localhost",
        "hunter2@localhost",
        "hunter2",
    ],
)
def test_no_password_is_in_an_error(url: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        settings(url)
    assert "hunter" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://user:hunter2@localhost:port/0", "'redis://***@localhost...'"),
        ("redis://localhost/zero", "'redis://localhost/zero' (a database is one number, from 0)"),
        ("postgres://localhost/db", "'postgres://localhost/db'"),
        ("sqlite:///:memory:", "'sqlite:///:memory:'"),
        ("sqlite://ann:hunter2@localhost/db", "'sqlite://***@localhost/db'"),
        ("hunter2", "'...'"),
        ("", "''"),
    ],
)
def test_what_is_not_a_secret_of_a_url_is_in_its_error(url: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        settings(url)
    assert str(raised.value).startswith(f"FEEDBACK_STORE_URL cannot be {told}. Give redis://")


# Where it leads, for an operator


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://", "redis://localhost:6379/0"),
        ("redis://h", "redis://h:6379/0"),
        ("redis://ann:secret@h:1/2?socket_timeout=1", "redis://h:1/2"),
        ("redis://:secret@h/2?db=3", "redis://h:6379/3"),
        ("redis://h/2?password=secret", "redis://h:6379/2"),
        ("rediss://ann:secret@h:1/2", "rediss://h:1/2"),
        ("unix://ann:secret@/run/redis.sock", "unix:///run/redis.sock?db=0"),
        ("unix:///run/redis.sock?db=3&password=secret", "unix:///run/redis.sock?db=3"),
        ("redis+cluster://ann:secret@h:1,i?username=secret", "redis+cluster://h:1,i"),
        ("rediss+sentinel://ann:secret@h:1,i/it/3?x", "rediss+sentinel://h:1,i/it/3"),
        ("sqlite:///a%20b.db", "sqlite:////instance/a b.db"),
        (None, "sqlite:////instance/feedback.sqlite3"),
    ],
)
def test_an_operator_is_told_where_a_url_leads_and_no_secret(url: str, place: str) -> None:
    store = store_from_url(url, timeout=1, instance_path="/instance", key="KEY")
    assert store.location() == place


@pytest.mark.parametrize(
    "url", ["redis://ann:secret@h:1/2", "rediss://h:1/0", "unix:///run/redis.sock?db=3"]
)
def test_an_operator_is_told_where_a_client_leads(url: str) -> None:
    assert RedisStore(redis.Redis.from_url(url)).location() == url.replace("ann:secret@", "")


def test_an_operator_is_told_where_a_client_of_several_servers_leads(
    redis_cluster: RedisCluster,
) -> None:
    names = ",".join(sorted(node.address for node in redis_cluster.nodes))
    [first, *_] = redis_cluster.nodes
    with redis.RedisCluster(host="127.0.0.1", port=first.port) as client:
        assert RedisStore(client).location() == f"redis+cluster://{names}"
    sentinels = redis.Sentinel([("127.0.0.1", 1)])
    primary = sentinels.master_for("it", db=3)
    assert RedisStore(primary).location() == "redis+sentinel://.../it/3"


@pytest.mark.parametrize(
    ("store", "config", "chosen_by"),
    [
        (None, {"FEEDBACK_STORE_URL": "sqlite:///f.db"}, "FEEDBACK_STORE_URL"),
        (None, {}, "default: FEEDBACK_STORE_URL is not set"),
        (True, {}, "the blueprint's store="),
    ],
)
def test_a_check_says_what_chose_the_store(
    tmp_path: Path, store: object, config: dict[str, str], chosen_by: str
) -> None:
    mine = SQLiteStore(tmp_path / "f.db", timeout=1) if store else None
    app = Flask("app", instance_path=str(tmp_path))
    app.config.update(config)
    app.register_blueprint(FeedbackBlueprint(store=mine))
    said = app.test_cli_runner().invoke(args=["feedback", "check", "--json"]).output
    [place] = [each["seen"] for each in json.loads(said) if each["what"] == "kept in"]
    assert place.startswith(f"sqlite:///{tmp_path}/")
    assert place.endswith(f", by {chosen_by}")
