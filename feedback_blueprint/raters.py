"""Who votes. The rest of the package knows a rater only by keyed hashes."""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flask import has_request_context
from itsdangerous import Signer

from .errors import ConfigurationError
from .model import ANYONE, Finding

SAME_KEY = (
    "Give all processes the same SECRET_KEY, from outside of the app, and the one before it in "
    "SECRET_KEY_FALLBACKS: a message that is made under another key is nobody's, and its votes get "
    "404."
)


class Raters:
    """Asks the app's `rater` who is voting. Without one, all visitors are anonymous.

    A hash is keyed with the app's `SECRET_KEY`. Hashes under its `SECRET_KEY_FALLBACKS` count, too.
    Raises `ConfigurationError` if there is a rater but no key, or a key that is not text.
    """

    def __init__(self, rater: Callable[[], Any] | None, config: Mapping[str, Any]) -> None:
        self._rater = rater
        self._keys: list[bytes] = []
        if rater is None:
            return
        if not config["SECRET_KEY"]:
            raise ConfigurationError(
                "SECRET_KEY is not set, and a rater is only ever kept as a hash with that key. "
                "Set SECRET_KEY before the blueprint is registered."
            )
        fallbacks = config.get("SECRET_KEY_FALLBACKS") or []
        if not isinstance(fallbacks, (list, tuple)):
            kind = type(fallbacks).__name__
            raise ConfigurationError(f"SECRET_KEY_FALLBACKS cannot be a {kind}. Give a list.")
        self._keys = [_key("SECRET_KEY", config["SECRET_KEY"])]
        self._keys += [_key("SECRET_KEY_FALLBACKS", secret) for secret in fallbacks]

    def of_caller(self) -> Sequence[bytes]:
        """Return the caller's hashes, the one under the current key first.

        Outside of a request the app cannot tell who calls. The caller is anonymous then, and can
        rate only what was made for anybody. Raises what the app's function raises.
        """
        return self.of(self._rater() if self._rater is not None and has_request_context() else None)

    def of_request(self) -> Sequence[bytes] | None:
        """Return the hashes of the rater for whom a message is made here.

        `None` outside of a request, if the app has a rater.
        """
        if self._rater is not None and not has_request_context():
            return None
        return self.of_caller()

    def of(self, rater: object) -> list[bytes]:
        """Return a rater's hash under each of the app's keys, the current key first.

        `None` is an anonymous visitor.
        Raises `TypeError` for another type, and `ConfigurationError` if the app has no rater.
        """
        if rater is None:
            return [ANYONE]
        if not isinstance(rater, str):
            kind = type(rater).__name__  # its value may name a person, and this goes into logs
            raise TypeError(f"A rater must be a str or None, not a {kind}. Use str() on it.")
        if not self._keys:
            raise ConfigurationError(
                "No rater owns a message here: give FeedbackBlueprint(rater=...)."
            )
        name = rater.encode(errors="surrogatepass")
        return [hmac.digest(key, name, "sha256")[:16] for key in self._keys]

    @property
    def fingerprints(self) -> list[bytes]:
        """A fingerprint of each key, the current key's first; none if there is no rater."""
        return [hmac.digest(key, b"fingerprint", "sha256")[:8] for key in self._keys]

    def check(self, announced: Sequence[bytes]) -> list[Finding]:
        """Check the app's secret keys, given the fingerprints that all processes announced."""
        seen = f"set, with {len(self._keys) - 1} fallbacks, for the rater"
        if others := len(set(announced).difference(self.fingerprints)):
            seen += f"; other keys within the last hour: {others}"
        return [Finding("SECRET_KEY", not others, seen, SAME_KEY)]


def tag(rater: bytes) -> str:
    """Return what a page may know of a rater's hash: it differs from person to person.

    It is empty for an anonymous visitor.
    """
    if rater == ANYONE:
        return ""
    digest = hmac.digest(rater, b"feedback_blueprint.tag", "sha256")[:16]
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def _key(name: str, secret: object) -> bytes:
    if not isinstance(secret, (str, bytes)):
        raise ConfigurationError(
            f"{name} cannot hold a key of type {type(secret).__name__}. Give a str or bytes; "
            "in the environment, put digits in quotes, or they are read as a number."
        )
    salt = b"feedback_blueprint.rater"
    return Signer(secret, salt, key_derivation="hmac", digest_method=hashlib.sha256).derive_key()
