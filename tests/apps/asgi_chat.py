"""The chat app for ASGI servers."""

from __future__ import annotations

from a2wsgi import WSGIMiddleware
from chat import app as wsgi_app

app = WSGIMiddleware(wsgi_app)
