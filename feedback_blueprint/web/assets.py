"""What the browser loads: `feedback.js` and what it imports, under the blueprint's own path."""

from __future__ import annotations

import functools
import hashlib
import io
import re
from pathlib import Path
from typing import Any, NamedTuple

from flask import Blueprint, Response, request, send_file
from werkzeug.exceptions import NotFound

from ..errors import ConfigurationError
from .routes import STATIC

FOLDER = Path(__file__).with_name("static")

FOR_READERS = re.compile(rb"^\s*(?:(?://.*|/\*.*\*/)\n\s*)*| +// .*$", re.MULTILINE)
"""Comments, and the space that begins a line: a sixth of what would be sent."""

YEAR = 365 * 24 * 60 * 60
"""Seconds."""


class Asset(NamedTuple):
    """A file as it is served, and a name for that content."""

    content: bytes
    version: str


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
    if asset := assets().get(values.get("filename", "")):
        values.setdefault("v", asset.version)


def send_asset(filename: str, **_: Any) -> Response:
    """Answer with a file, to be kept for good where the URL names its content.

    Variables of the blueprint's `url_prefix` are the app's own.
    """
    asset = assets().get(filename)
    if not asset:
        raise NotFound
    # What the system makes of .js may be no JavaScript, and browsers would not run it.
    mimetype = "text/javascript" if filename.endswith(".js") else "text/plain"
    response = send_file(
        io.BytesIO(asset.content), mimetype, download_name=filename, etag=asset.version
    )
    if request.args.get("v") == asset.version:
        response.headers["Cache-Control"] = f"public, max-age={YEAR}, immutable"
    return response


@functools.cache
def assets() -> dict[str, Asset]:
    """Return each script, and its types, by its name."""
    return {path.name: load_asset(path) for path in FOLDER.iterdir() if path.suffix != ".md"}


def load_asset(path: Path) -> Asset:
    """Read a file as it is served: a script without what only readers need.

    The URL of each module that it imports names that module's version, so a browser that keeps one
    never lacks what another needs. A page that asks for `feedback.js` by two URLs has one queue
    and one element: both import the same modules.
    """

    def versioned(module: re.Match[bytes]) -> bytes:
        imported = load_asset(path.with_name(module[1].decode()))
        return b'from "./%b?v=%b"' % (module[1], imported.version.encode())

    content = path.read_bytes()
    if path.suffix == ".js":
        content = FOR_READERS.sub(b"", content)
        content = re.sub(rb'from "\./(\w+\.js)"', versioned, content)
    return Asset(content, hashlib.blake2b(content, digest_size=8).hexdigest())
