"""That an app's type checker finds our types: .ci/run asks this of the wheel."""

from __future__ import annotations

from importlib.resources import files


def test_the_package_says_that_it_is_typed():
    assert files("feedback_blueprint").joinpath("py.typed").is_file()
