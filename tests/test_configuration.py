"""Configuration: what is read, and every error with its remedy."""

from __future__ import annotations

import enum
import os
import traceback
from datetime import timedelta

import pytest
from flask import Flask
from host_app import make_app

from feedback_blueprint import ConfigurationError, FeedbackBlueprint, RedisStore
from feedback_blueprint.config import Settings


def settings(feedback=None, **config):
    feedback = feedback or FeedbackBlueprint()
    return make_app(feedback, **config).extensions["feedback_blueprint"][feedback].settings


def test_the_defaults():
    assert settings() == Settings(
        store_url=None,
        ttl=timedelta(days=7),
        key_prefix="fb:",
        store_timeout=0.25,
        ratings=None,
        categories=None,
        store_message=False,
        max_revisions=20,
    )


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("TTL", 60, timedelta(minutes=1)),
        ("TTL", timedelta(hours=1), timedelta(hours=1)),
        ("TTL", 0.5, timedelta(milliseconds=500)),
        ("TTL", timedelta(milliseconds=1), timedelta(milliseconds=1)),
        ("STORE_TIMEOUT", 1, 1.0),
        ("RATINGS", {"bad": 0, "good": 1}, {"bad": 0, "good": 1}),
        ("RATINGS", {-1: 0, 1: 0.5}, {-1: 0, 1: 0.5}),
        ("RATINGS", range(1, 6), {1: 0, 2: 0.25, 3: 0.5, 4: 0.75, 5: 1}),
        ("RATINGS", range(2, -1, -1), {2: 1, 1: 0.5, 0: 0}),
        ("RATINGS", "range(0, 2)", {0: 0, 1: 1}),
        ("RATINGS", range(1000), {rating: rating / 999 for rating in range(1000)}),
        ("CATEGORIES", ["a", "b"], ("a", "b")),
        ("CATEGORIES", ("a",), ("a",)),
        ("CATEGORIES", enum.Enum("Category", {"A": "a"}, type=str), ("a",)),
        ("RATINGS", {enum.Enum("Rating", {"A": "a"}, type=str).A: 1}, {"a": 1}),
        ("STORE_MESSAGE", True, True),
        ("MAX_REVISIONS", 1, 1),
        ("KEY_PREFIX", "", ""),
    ],
)
def test_a_good_value_is_read(key, value, expected):
    read = settings(**{f"FEEDBACK_{key}": value})
    assert getattr(read, key.lower()) == expected


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("TTL", 0),
        ("TTL", -1),
        ("TTL", 0.0009),
        ("TTL", "7d"),
        ("TTL", True),
        ("TTL", None),
        ("TTL", float("inf")),
        ("TTL", float("nan")),
        ("TTL", 10**30),
        ("STORE_TIMEOUT", 0),
        ("STORE_TIMEOUT", 61),
        ("STORE_TIMEOUT", "fast"),
        ("RATINGS", []),
        ("RATINGS", {}),
        ("RATINGS", "good,bad"),
        ("RATINGS", {"good": "high"}),
        ("RATINGS", {"good": True}),
        ("RATINGS", {"good": float("nan")}),
        ("RATINGS", {"": 1}),
        ("RATINGS", {1.5: 1}),
        ("RATINGS", {True: 1}),
        ("RATINGS", {2**63: 1}),
        ("RATINGS", {"good": 2**63}),
        ("RATINGS", range(1)),
        ("RATINGS", range(1001)),
        ("RATINGS", range(10**9)),
        ("CATEGORIES", "helpful"),
        ("CATEGORIES", []),
        ("CATEGORIES", [1]),
        ("CATEGORIES", 5),
        ("STORE_MESSAGE", "yes"),
        ("STORE_MESSAGE", 1),
        ("MAX_REVISIONS", 0),
        ("MAX_REVISIONS", 2.0),
        ("KEY_PREFIX", 5),
        ("KEY_PREFIX", "\ud800"),
        ("STORE_URL", 5),
        ("STORE_URL", ""),
        ("STORE_URL", "postgres://h/db"),
        ("STORE_URL", "sqlite://"),
        ("STORE_URL", "sqlite:///:memory:"),
        ("STORE_URL", "sqlite://host/path"),
        ("STORE_URL", "sqlite:relative.db"),
        ("STORE_URL", "sqlite:/file.db"),
        ("STORE_URL", "sqlite:///"),
        ("STORE_URL", "sqlite:////"),
        ("STORE_URL", "sqlite:///file.db?mode=ro"),
        ("STORE_URL", "sqlite:///file.db#1"),
        ("STORE_URL", "unix://"),
        ("STORE_URL", "unix:///?db=1"),
        ("STORE_URL", "redis://localhost:port/0"),
        ("STORE_URL", "redis://localhost:6379/0?socket_timeout=soon"),
        ("STORE_URL", "redis://localhost:6379/zero"),
        ("STORE_URL", "redis://localhost:6379/0?colour=red"),
        ("STORE_URL", "redis://localhost:6379/0?retry=3"),
        ("STORE_URL", "redis://localhost:6379/0?ssl=true"),
        ("STORE_URL", "redis://localhost:6379/0?single_connection_client=1"),
        ("STORE_URL", "redis+cluster://localhost:6379?colour=red"),
        ("STORE_URL", "redis+cluster://localhost:6379?startup_nodes=a"),
        ("STORE_URL", "redis+sentinel://localhost:26379/primary/0?retry=3"),
        ("STORE_URL", "redis+sentinel://localhost:26379/primary/0?colour=red"),
        ("STORE_URL", "redis+sentinel://localhost:26379/primary/0?sentinel_colour=red"),
        ("STORE_URL", "redis+sentinel://localhost:26379"),
        ("STORE_URL", "redis+cluster://"),
        ("STORE_URL", "redis+cluster://localhost:6379/3"),
        ("STORE_URL", "redis+cluster://localhost:6379?db=3"),
        ("STORE_URL", "redis+cluster://localhost:6379,:6380"),
        ("STORE_URL", "redis://localhost:6379/0?decode_responses=true"),
        ("STORE_URL", "redis+cluster://localhost:6379?decode_responses=true"),
    ],
)
def test_a_bad_value_is_named_with_its_key_and_a_remedy(key, value):
    with pytest.raises(ConfigurationError) as raised:
        settings(**{f"FEEDBACK_{key}": value})
    assert f"FEEDBACK_{key}" in str(raised.value)
    assert "Give " in str(raised.value)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://localhost/zero", "a database is a number"),
        ("redis://localhost/0?colour=red", "'colour'"),
        ("redis+sentinel://localhost", "service"),
        ("redis+cluster://localhost/3", "a cluster has one database"),
        ("redis://localhost/0?decode_responses=true", "decode_responses"),
    ],
)
def test_a_url_that_cannot_work_says_why(url, why):
    with pytest.raises(ConfigurationError, match=why):
        settings(FEEDBACK_STORE_URL=url)


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://localhost/0",
        "redis+cluster://localhost?db=0",
        "redis+cluster://localhost?read_from_replicas=1&reinitialize_steps=5&client_name=a",
        "redis+cluster://localhost?dynamic_startup_nodes=false",
        "redis+sentinel://localhost/primary",
        "redis+sentinel://localhost/primary/3?client_name=a&sentinel_client_name=b",
    ],
)
def test_what_the_client_of_a_url_takes_can_be_set_there(url):
    assert settings(FEEDBACK_STORE_URL=url).store_url == url


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
def test_no_password_is_in_an_error(url):
    with pytest.raises(ConfigurationError) as raised:
        settings(FEEDBACK_STORE_URL=url)
    assert "hunter" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://user:hunter2@localhost:port/0", "'redis://***@localhost...'"),
        ("redis://localhost/zero", "'redis://localhost/zero' (a database is a number)"),
        ("postgres://localhost/db", "'postgres://localhost/db'"),
        ("hunter2", "'...'"),
        ("", "''"),
    ],
)
def test_what_is_no_secret_of_a_url_is_in_its_error(url, told):
    with pytest.raises(ConfigurationError) as raised:
        settings(FEEDBACK_STORE_URL=url)
    assert str(raised.value).startswith(f"FEEDBACK_STORE_URL cannot be {told}. Give redis://")


@pytest.mark.parametrize(
    "arguments",
    [
        {"rater": "ann"},
        {"store": "redis://localhost"},
        {"store": object()},
        {"store": RedisStore},
        {"store": FeedbackBlueprint()},
    ],
)
def test_what_is_no_rater_and_no_store_is_refused(arguments):
    with pytest.raises(ConfigurationError, match="Give "):
        FeedbackBlueprint(**arguments)


def test_the_prefix_of_the_keys_can_be_chosen():
    feedback = FeedbackBlueprint(config_prefix="BOT_")
    assert settings(feedback, BOT_TTL=60, FEEDBACK_TTL=0).ttl == timedelta(minutes=1)
    with pytest.raises(ConfigurationError, match="BOT_TTL"):
        settings(FeedbackBlueprint(config_prefix="BOT_"), BOT_TTL=0)


def test_everything_loads_from_the_environment(monkeypatch):
    for key, value in {
        "STORE_URL": "redis://localhost:6379/5",
        "TTL": "3600",
        "KEY_PREFIX": "x:",
        "STORE_TIMEOUT": "0.5",
        "RATINGS": '{"bad": 0, "good": 1}',
        "CATEGORIES": '["a", "b"]',
        "STORE_MESSAGE": "true",
        "MAX_REVISIONS": "3",
    }.items():
        monkeypatch.setitem(os.environ, f"FLASK_FEEDBACK_{key}", value)
    app, feedback = Flask(__name__), FeedbackBlueprint()
    app.config.from_prefixed_env()
    app.register_blueprint(feedback)
    assert app.extensions["feedback_blueprint"][feedback].settings == Settings(
        store_url="redis://localhost:6379/5",
        ttl=timedelta(hours=1),
        key_prefix="x:",
        store_timeout=0.5,
        ratings={"bad": 0, "good": 1},
        categories=("a", "b"),
        store_message=True,
        max_revisions=3,
    )
