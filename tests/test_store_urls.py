"""What a store's URL may be; an error tells what is wrong with one, but no secret of it."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
import redis
from host_app import make_app

from feedback_blueprint import ConfigurationError, FeedbackBlueprint
from feedback_blueprint.config import Settings
from feedback_blueprint.stores.redis_client import client_from_url


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
        "unix://",
        "unix:///?db=1",
        "redis://localhost:port/0",
        "redis://localhost:6379/0?socket_timeout=soon",
        "redis://localhost:6379/zero",
        "redis://localhost:6379/0?colour=red",
        "redis://localhost:6379/0?retry=3",
        "redis://localhost:6379/0?protocol=9",
        "redis://localhost:6379/0?ssl=true",
        "redis://localhost:6379/0?single_connection_client=1",
        "redis+cluster://localhost:6379?colour=red",
        "redis+cluster://localhost:6379?startup_nodes=a",
        "redis+sentinel://localhost:26379/primary/0?retry=3",
        "redis+sentinel://localhost:26379/primary/0?colour=red",
        "redis+sentinel://localhost:26379/primary/0?sentinel_colour=red",
        "redis+sentinel://localhost:26379",
        "redis+cluster://",
        "redis://two..dots",
        "redis+cluster://two..dots",
        "redis+cluster://localhost:6379/3",
        "redis+cluster://localhost:6379?db=3",
        "redis+cluster://localhost:6379,:6380",
        "redis://localhost:6379/0?decode_responses=true",
        "redis+cluster://localhost:6379?decode_responses=true",
    ],
)
def test_a_url_that_cannot_work_is_refused_with_a_remedy(url: str) -> None:
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
        ("sqlite:///a%00b", "no path can have a NUL"),
        ("redis://localhost/0?colour=red", "'colour'"),
        ("redis+sentinel://localhost", "service"),
        ("redis+cluster://localhost/3", "a cluster has one database"),
        ("redis://localhost/0?decode_responses=true", "decode_responses"),
    ],
)
def test_a_url_that_cannot_work_says_why(url: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
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
def test_what_is_no_secret_of_a_url_is_in_its_error(url: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        settings(url)
    assert str(raised.value).startswith(f"FEEDBACK_STORE_URL cannot be {told}. Give redis://")
