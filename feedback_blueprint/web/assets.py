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
from .routes import STATIC_PATH

FOLDER = Path(__file__).with_name("static")

COMMENTS_AND_INDENTS = re.compile(rb"^\s*(?:(?://.*|/\*.*\*/)\n\s*)*| +// .*$", re.MULTILINE)
"""Comments and indents: browsers need neither, and they are a sixth of the bytes."""

YEAR_SECONDS = 365 * 24 * 60 * 60


class Asset(NamedTuple):
    """A file as it is served. `version` names its content."""

    content: bytes
    version: str


def add_assets(blueprint: Blueprint) -> None:
    """Serve the static files. `url_for` adds the version, so that a browser can keep them.

    Raises `ConfigurationError` if the app gave the blueprint a static folder of its own.
    """
    if blueprint.has_static_folder:
        raise ConfigurationError(
            f"static_folder cannot be {blueprint.static_folder!r}: feedback.js is served there. "
            "Give it to a blueprint of your own."
        )
    blueprint.add_url_rule(STATIC_PATH, "static", send_asset)
    blueprint.url_defaults(add_version)


def add_version(_: str, values: dict[str, Any]) -> None:
    """Add the file's version to its URL."""
    if asset := assets().get(values.get("filename", "")):
        values.setdefault("v", asset.version)


def send_asset(filename: str, **_: Any) -> Response:
    """Answer with a file. A browser keeps it for good if the URL has its version.

    Ignores the variables of the blueprint's `url_prefix`: they are the app's.
    """
    asset = assets().get(filename)
    if not asset:
        raise NotFound
    # Some systems give .js a type that is not JavaScript, and browsers would not run it.
    mimetype = "text/javascript" if filename.endswith(".js") else "text/plain"
    response = send_file(
        io.BytesIO(asset.content), mimetype, download_name=filename, etag=asset.version
    )
    if request.args.get("v") == asset.version:
        response.headers["Cache-Control"] = f"public, max-age={YEAR_SECONDS}, immutable"
    return response


@functools.cache
def assets() -> dict[str, Asset]:
    """Return each script and each file of types, by its name."""
    return {path.name: load_asset(path) for path in FOLDER.iterdir() if path.suffix != ".md"}


def load_asset(path: Path) -> Asset:
    """Read a file as it is served: a script has no comments and no indents then.

    A script imports each module by a URL with that module's version. So a browser never runs
    modules of two versions together. If a page asks for `feedback.js` by two URLs, it still has one
    queue and one element: both import the same modules.
    """

    def versioned(module: re.Match[bytes]) -> bytes:
        imported = load_asset(path.with_name(module[1].decode()))
        return b'from "./%b?v=%b"' % (module[1], imported.version.encode())

    content = path.read_bytes()
    if path.suffix == ".js":
        content = COMMENTS_AND_INDENTS.sub(b"", content)
        content = re.sub(rb'from "\./(\w+\.js)"', versioned, content)
    return Asset(content, hashlib.blake2b(content, digest_size=8).hexdigest())
