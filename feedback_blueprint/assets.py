"""What the browser loads: `feedback.js`, under the blueprint's own path."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, request, send_from_directory

from .errors import ConfigurationError
from .routes import STATIC

FOLDER = Path(__file__).with_name("static")

YEAR = 365 * 24 * 60 * 60
"""Seconds."""


def add_assets(blueprint: Blueprint) -> None:
    """Serve the static files; `url_for` names their content, so that a browser can keep them.

    Raises `ConfigurationError` for a blueprint with static files of the app's.
    """
    if blueprint.has_static_folder:
        raise ConfigurationError(
            f"static_folder cannot be {blueprint.static_folder!r}: feedback.js is served there. "
            "Give it to a blueprint of your own."
        )
    blueprint.add_url_rule(STATIC, "static", send_asset)
    blueprint.url_defaults(name_content)


def name_content(_: str, values: dict[str, Any]) -> None:
    """Put the file's version in its URL."""
    if version := versions().get(values.get("filename", "")):
        values.setdefault("v", version)


def send_asset(filename: str, **_: Any) -> Response:
    """Answer with a file, to be kept for good where the URL names its content.

    Variables of the blueprint's `url_prefix` are the app's own.
    """
    # What the system makes of .js may be no JavaScript, and browsers would not run it.
    mimetype = "text/javascript" if filename.endswith(".js") else "text/plain"
    response = send_from_directory(FOLDER, filename, mimetype=mimetype)
    version = versions().get(filename)
    if version and request.args.get("v") == version:
        response.headers["Cache-Control"] = f"public, max-age={YEAR}, immutable"
    return response


@functools.cache
def versions() -> dict[str, str]:
    """Return a name for the content of each file."""
    return {
        path.name: hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()
        for path in FOLDER.iterdir()
    }
