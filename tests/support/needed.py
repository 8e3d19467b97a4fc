"""What a test needs and pip cannot bring."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from processes import ToolMissingError


@contextmanager
def needed() -> Iterator[None]:
    """A tool that is missing skips a test on a user's machine, and fails it if CI=true."""
    try:
        yield
    except ToolMissingError as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))  # which names what is missing
