"""The settings of an app, read and checked at registration."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple, NoReturn

from .attributes import MAX_VALUE_BYTES, number_problem, text_problem, without_enum
from .errors import ConfigurationError

MAX_RATINGS = 1000
"""Ratings of a scale. More are a typing error, and each takes memory."""

DURATION = "Give seconds or a timedelta from one millisecond to ten years."

RANGE = re.compile(r"range\(\s*(-?\d+)\s*,\s*(-?\d+)\s*\)")

INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
"""How JSON writes an integer of 64 bits."""


class Settings(NamedTuple):
    """What one app configures for one blueprint; `FeedbackBlueprint` explains each key.

    `store_timeout` is in seconds.
    """

    store_url: str | None
    ttl: timedelta
    vote_ttl: timedelta
    key_prefix: str
    store_timeout: float
    ratings: Mapping[str | int, float] | None
    categories: tuple[str, ...] | None
    store_message: bool
    max_revisions: int

    @classmethod
    def from_config(cls, config: Mapping[str, Any], prefix: str) -> Settings:
        """Read and check each key; raises `ConfigurationError` for the first wrong one."""

        def read(name: str, default: Any, convert: Callable[[Any], Any], remedy: str) -> Any:
            key = prefix + name
            value = config.get(key, default)
            try:
                return convert(value)
            except (TypeError, ValueError, OverflowError):
                refuse(key, value, remedy)

        settings = cls(
            store_url=read("STORE_URL", None, _optional_str, "Give a URL: redis://localhost/0."),
            ttl=read(
                "TTL",
                timedelta(days=7),
                _duration,
                DURATION,
            ),
            vote_ttl=read("VOTE_TTL", timedelta(days=30), _duration, DURATION),
            key_prefix=read("KEY_PREFIX", "fb:", _str, "Give a string."),
            store_timeout=read(
                "STORE_TIMEOUT", 0.25, _timeout, "Give seconds, over 0 and at most 60."
            ),
            ratings=read(
                "RATINGS",
                None,
                _ratings,
                'Give a mapping of rating to score, such as {"bad": 0, "good": 1}, '
                f"or a range of 2 to {MAX_RATINGS} integers, such as range(1, 6).",
            ),
            categories=read(
                "CATEGORIES",
                None,
                _categories,
                "Give a list of non-blank strings of at most 255 bytes.",
            ),
            store_message=read("STORE_MESSAGE", False, _bool, "Give true or false."),
            max_revisions=read("MAX_REVISIONS", 20, _count, "Give an integer of at least 1."),
        )
        if settings.vote_ttl < settings.ttl:
            remedy = f"Give at least as much as {prefix}TTL, which is {settings.ttl!r}."
            refuse(f"{prefix}VOTE_TTL", settings.vote_ttl, remedy)
        return settings


def refuse(key: str, value: object, remedy: str) -> NoReturn:
    """Raise a `ConfigurationError` that names the key, the value and the remedy."""
    raise ConfigurationError(f"{key} cannot be {value!r}. {remedy}")


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    value.encode()
    return value


def _optional_str(value: Any) -> str | None:
    return None if value is None else _str(value)


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError
    if value < 1:
        raise ValueError
    return value


def _timeout(value: Any) -> float:
    seconds = float(_number(value))
    if not 0 < seconds <= 60:
        raise ValueError
    return seconds


def _duration(value: Any) -> timedelta:
    duration = value if isinstance(value, timedelta) else timedelta(seconds=_number(value))
    if not timedelta(milliseconds=1) <= duration <= timedelta(days=3653):
        raise ValueError
    return duration


def _ratings(value: Any) -> Mapping[str | int, float] | None:
    if value is None:
        return None
    if isinstance(value, str) and (match := RANGE.fullmatch(value.strip())):
        value = range(int(match[1]), int(match[2]))
    if isinstance(value, range):
        if not 2 <= len(value) <= MAX_RATINGS:
            raise ValueError
        low, high = min(value), max(value)
        return {_rating(rating): (rating - low) / (high - low) for rating in value}
    if not isinstance(value, Mapping) or not value:
        raise TypeError
    if all(isinstance(rating, str) and INTEGER.fullmatch(rating) for rating in value):
        value = {int(rating): score for rating, score in value.items()}  # JSON keys are text
    return {_rating(rating): _score(score) for rating, score in value.items()}


def _score(value: Any) -> float:
    score = _number(value)
    if number_problem(score):
        raise ValueError
    return score


def _rating(value: Any) -> str | int:
    if isinstance(value, int) and not isinstance(value, bool):
        if number_problem(value):
            raise ValueError
        return value
    return _label(value)


def _categories(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, (str, Mapping)) or not value:
        raise TypeError
    return tuple(_label(category) for category in value)


def _label(value: Any) -> str:
    if text_problem(value, MAX_VALUE_BYTES):
        raise ValueError
    return str(without_enum(value))
