"""A store in which all fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn


class BrokenStore:
    """Raises an error from whatever it is asked for."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def node_of(self, _: str) -> str:
        """Not a question to the server, so it has an answer."""
        return ""

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        def fail(*args: object, **kwargs: object) -> NoReturn:
            raise self._error

        return fail
