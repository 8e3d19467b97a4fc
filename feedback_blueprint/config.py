"""The settings of an app, read and checked at registration."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import Any, NamedTuple, NoReturn

from .attributes import (
    MAX_VALUE_BYTES,
    is_integer,
    number_problem,
    rating_problem,
    text_problem,
    without_enum,
)
from .errors import ConfigurationError
from .model import DEFAULT_VOTE_TTL

MAX_RATINGS = 1000
"""The most ratings of a `range`. More are a typo, and each takes memory."""

DURATION = "Give seconds or a timedelta from one millisecond to ten years."

TIMEOUT = "Give seconds, over 0 and at most 60."

RATINGS = (
    'Give a mapping of rating to score, such as {"bad": 0, "good": 1}, '
    f"or a range of 2 to {MAX_RATINGS} integers, such as range(1, 6)."
)

CATEGORIES = f"Give a list of non-blank strings of at most {MAX_VALUE_BYTES} bytes."

RANGE = re.compile(r"range\(\s*(-?\d+)\s*,\s*(-?\d+)\s*\)")

INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
"""How JSON writes an integer of 64 bits."""


class Settings(NamedTuple):
    """What one app configures for one blueprint; `FeedbackBlueprint` explains each key.

    `store_timeout` is in seconds. `prefix` comes before each key.
    """

    prefix: str
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
                _refuse(key, value, remedy)

        settings = cls(
            prefix=prefix,
            store_url=read("STORE_URL", None, _optional(_str), "Give a URL: redis://localhost/0."),
            ttl=read("TTL", timedelta(days=7), _duration, DURATION),
            vote_ttl=read("VOTE_TTL", DEFAULT_VOTE_TTL, _duration, DURATION),
            key_prefix=read("KEY_PREFIX", "fb:", _str, "Give a string."),
            store_timeout=read("STORE_TIMEOUT", 0.25, _timeout, TIMEOUT),
            ratings=read("RATINGS", None, _optional(_ratings), RATINGS),
            categories=read("CATEGORIES", None, _optional(_categories), CATEGORIES),
            store_message=read("STORE_MESSAGE", False, _bool, "Give true or false."),
            max_revisions=read("MAX_REVISIONS", 20, _count, "Give an integer of at least 1."),
        )
        if settings.vote_ttl < settings.ttl:
            remedy = f"Give at least as much as {prefix}TTL, which is {settings.ttl!r}."
            _refuse(f"{prefix}VOTE_TTL", settings.vote_ttl, remedy)
        return settings

    def refuse_changes(self, config: Mapping[str, Any]) -> None:
        """Raise `ConfigurationError` for a key that was changed since it was read."""
        now = Settings.from_config(config, self.prefix)
        for name, old, new in zip(self._fields, self, now, strict=True):
            if old != new:
                raise ConfigurationError(
                    f"{self.prefix}{name.upper()} was changed too late to have an effect. "
                    "Set it before app.register_blueprint()."
                )


def _refuse(key: str, value: object, remedy: str) -> NoReturn:
    """Raise a `ConfigurationError` that names the key, the value and the remedy."""
    raise ConfigurationError(f"{key} cannot be {value!r}. {remedy}")


def _optional(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else convert(value)


def _require(condition: object) -> None:
    if not condition:
        raise ValueError


def _str(value: Any) -> str:
    text: str = value
    str.encode(text)  # raises for what is not a text, and for half of a surrogate pair
    return text


def _bool(value: Any) -> bool:
    _require(isinstance(value, bool))
    return bool(value)


def _number(value: Any) -> float:
    number: float = value
    _require(is_integer(number) or isinstance(number, float))
    return number


def _count(value: Any) -> int:
    _require(is_integer(value) and value >= 1)
    return int(value)


def _timeout(value: Any) -> float:
    seconds = _number(value)
    _require(0 < seconds <= 60)
    return seconds


def _duration(value: Any) -> timedelta:
    duration = value if isinstance(value, timedelta) else timedelta(seconds=_number(value))
    _require(timedelta(milliseconds=1) <= duration <= timedelta(days=3653))
    return duration


def _ratings(value: Any) -> Mapping[str | int, float]:
    if isinstance(value, str) and (match := RANGE.fullmatch(value.strip())):
        value = range(int(match[1]), int(match[2]))
    if isinstance(value, range):
        _require(2 <= len(value) <= MAX_RATINGS)
        low, high = min(value), max(value)
        return {_rating(rating): (rating - low) / (high - low) for rating in value}
    if not isinstance(value, Mapping) or not value:
        raise ValueError
    if all(isinstance(rating, str) and INTEGER.fullmatch(rating) for rating in value):
        value = {int(rating): score for rating, score in value.items()}  # JSON keys are text
    return {_rating(rating): _score(score) for rating, score in value.items()}


def _rating(value: Any) -> str | int:
    _require(not rating_problem(value))
    rating: str | int = without_enum(value)
    return rating


def _score(value: Any) -> float:
    score = _number(value)
    _require(not number_problem(score))
    return score


def _categories(value: Any) -> tuple[str, ...]:
    _require(value and isinstance(value, Collection) and not isinstance(value, (str, Mapping)))
    return tuple(_label(category) for category in value)


def _label(value: Any) -> str:
    _require(not text_problem(value, MAX_VALUE_BYTES))
    return str(without_enum(value))
