"""Configuration: what is read, and every error with its remedy."""

from __future__ import annotations

import enum
import os
from datetime import timedelta

import pytest
from flask import Flask
from host_app import make_app

from feedback_blueprint import ConfigurationError, FeedbackBlueprint, RedisStore
from feedback_blueprint.config import Settings
from feedback_blueprint.testing import capture_feedback


def settings(feedback=None, **config):
    feedback = feedback or FeedbackBlueprint()
    return make_app(feedback, **config).extensions["feedback_blueprint"][feedback].settings


def test_an_app_that_sets_nothing_has_the_defaults(feedback):
    app = Flask(__name__)
    app.register_blueprint(feedback)
    assert app.extensions["feedback_blueprint"][feedback].settings == Settings(
        prefix="FEEDBACK_",
        store_url=None,
        ttl=timedelta(days=7),
        vote_ttl=timedelta(days=30),
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
        ("VOTE_TTL", 31 * 24 * 3600, timedelta(days=31)),
        ("VOTE_TTL", timedelta(days=7), timedelta(days=7)),
        ("STORE_TIMEOUT", 1, 1.0),
        ("RATINGS", {"bad": 0, "good": 1}, {"bad": 0, "good": 1}),
        ("RATINGS", {-1: 0, 1: 0.5}, {-1: 0, 1: 0.5}),
        ("RATINGS", {"1": 0, "2": 0.5, "3": 1}, {1: 0, 2: 0.5, 3: 1}),
        ("RATINGS", {"-1": 0, "0": 0.5, "10": 1}, {-1: 0, 0: 0.5, 10: 1}),
        ("RATINGS", {str(2**63 - 1): 1, str(-(2**63)): 0}, {2**63 - 1: 1, -(2**63): 0}),
        ("RATINGS", {"-1": 0, "+1": 1}, {"-1": 0, "+1": 1}),
        ("RATINGS", {"1": 0, "02": 1}, {"1": 0, "02": 1}),
        ("RATINGS", {"1": 0, " 2": 1}, {"1": 0, " 2": 1}),
        ("RATINGS", {"0": 0, "-0": 1}, {"0": 0, "-0": 1}),
        ("RATINGS", {"1": 0, "\u0662": 1}, {"1": 0, "\u0662": 1}),
        ("RATINGS", {"1": 0, "1.5": 1}, {"1": 0, "1.5": 1}),
        ("RATINGS", {"1": 0, "good": 1}, {"1": 0, "good": 1}),
        ("RATINGS", {1: 0, "2": 1}, {1: 0, "2": 1}),
        ("RATINGS", {"1" * 20: 0}, {"1" * 20: 0}),
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
        ("VOTE_TTL", "30d"),
        ("VOTE_TTL", True),
        ("VOTE_TTL", timedelta(days=4000)),
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
        ("RATINGS", {str(2**63): 1}),
        ("RATINGS", [1, 2, 3]),
        ("RATINGS", "range(1, 6, 2)"),
        ("RATINGS", "range(1, 1)"),
        ("RATINGS", {"good": 2**63}),
        ("RATINGS", range(1)),
        ("RATINGS", range(1001)),
        ("RATINGS", range(2**63 - 1, 2**63 + 1)),
        ("RATINGS", range(10**9)),
        ("CATEGORIES", "helpful"),
        ("CATEGORIES", []),
        ("CATEGORIES", [1]),
        ("CATEGORIES", 5),
        ("CATEGORIES", map(str.strip, ["a", " b"])),
        ("STORE_MESSAGE", "yes"),
        ("STORE_MESSAGE", 1),
        ("MAX_REVISIONS", 0),
        ("MAX_REVISIONS", 2.0),
        ("KEY_PREFIX", 5),
        ("KEY_PREFIX", "\ud800"),
        ("STORE_URL", 5),
    ],
)
def test_a_bad_value_is_named_with_its_key_and_a_remedy(key, value):
    with pytest.raises(ConfigurationError) as raised:
        settings(**{f"FEEDBACK_{key}": value})
    assert str(raised.value).startswith(f"FEEDBACK_{key} cannot be {value!r}. Give ")


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
def test_what_is_not_a_rater_or_not_a_store_is_refused(arguments):
    with pytest.raises(ConfigurationError, match="Give "):
        FeedbackBlueprint(**arguments)


@pytest.mark.parametrize(
    "config",
    [
        {"FEEDBACK_TTL": timedelta(days=31)},
        {"FEEDBACK_VOTE_TTL": timedelta(days=6)},
        {"FEEDBACK_TTL": 10, "FEEDBACK_VOTE_TTL": 9.999},
    ],
)
def test_a_vote_cannot_be_kept_for_less_time_than_a_message_can_be_rated(config):
    with pytest.raises(ConfigurationError) as error:
        make_app(FeedbackBlueprint(), **config)
    text = str(error.value)
    assert "FEEDBACK_VOTE_TTL cannot be" in text
    assert "FEEDBACK_TTL" in text.replace("FEEDBACK_VOTE_TTL", "")


def test_the_error_names_the_keys_by_the_prefix_that_they_have():
    feedback = FeedbackBlueprint(config_prefix="BOT_")
    with pytest.raises(ConfigurationError, match=r"BOT_VOTE_TTL .* BOT_TTL"):
        make_app(feedback, BOT_TTL=9, BOT_VOTE_TTL=5)


def test_a_vote_may_be_kept_as_long_as_a_message_can_be_rated():
    make_app(FeedbackBlueprint(), FEEDBACK_TTL=10, FEEDBACK_VOTE_TTL=timedelta(seconds=10))


def test_the_prefix_of_the_keys_can_be_chosen():
    feedback = FeedbackBlueprint(config_prefix="BOT_")
    assert settings(feedback, BOT_TTL=60, FEEDBACK_TTL=0).ttl == timedelta(minutes=1)
    with pytest.raises(ConfigurationError, match="BOT_TTL"):
        settings(FeedbackBlueprint(config_prefix="BOT_"), BOT_TTL=0)


def test_apps_whose_keys_have_other_prefixes_share_a_store_and_no_message(store_url):
    feedback = FeedbackBlueprint()
    one, two = (
        make_app(
            feedback,
            FEEDBACK_STORE_URL=store_url,
            FEEDBACK_STORE_TIMEOUT=2.0,
            FEEDBACK_KEY_PREFIX=prefix,
        )
        for prefix in ("one:", "two:")
    )
    with capture_feedback(one), one.test_request_context():
        feedback.stash("m")
    for app, rateable in (one, ["m"]), (two, []):
        answer = app.test_client().get("/feedback?message_id=m")
        assert answer.json["rateable"] == rateable


def test_everything_loads_from_the_environment(monkeypatch):
    for key, value in {
        "STORE_URL": "redis://localhost:6379/5",
        "TTL": "3600",
        "VOTE_TTL": "7200",
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
        prefix="FEEDBACK_",
        store_url="redis://localhost:6379/5",
        ttl=timedelta(hours=1),
        vote_ttl=timedelta(hours=2),
        key_prefix="x:",
        store_timeout=0.5,
        ratings={"bad": 0, "good": 1},
        categories=("a", "b"),
        store_message=True,
        max_revisions=3,
    )
