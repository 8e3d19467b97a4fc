"""The house: a file imports only from layers below its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "feedback_blueprint"

LAYERS = [
    {"errors", "attributes", "findings", "locks", "logs", "signals", "stores.deadline"},
    {"announcing", "config", "metrics", "routes", "schemas", "stores.base", "stores.redis_errors"},
    {"harvests", "stores.mounts"},
    {"stores.redis_connections", "stores.redis_layout", "stores.redis_outboxes"},
    {"telemetry", "stores.redis_exchange", "stores.sqlite_layout"},
    {"stores.redis_client", "stores.redis_findings", "stores.sqlite_client", "stores.guard"},
    {"stores.redis", "stores.sqlite"},
    {"stores"},
    {"delivery", "events", "raters"},
    {"votes"},
    {"registered", "views", "assets"},
    {"capture"},
    {"openapi", "tracer"},
    {"cli", "streams"},
    {"tracing"},
    {"blueprint"},
    {"", "testing"},
    {"demo.responder", "demo", "demo.__main__"},
]
LAYER = {name: number for number, layer in enumerate(LAYERS) for name in layer}

EXCEPTIONS = {("demo", "demo.responder"), ("demo.__main__", "demo")}
"""Neighbours in one layer, where one knows the other and not the other way round."""

ONLY = {
    "apispec": {"openapi"},
    "newrelic": {"harvests", "metrics", "telemetry"},
    "redis": {
        "stores.redis",
        "stores.redis_client",
        "stores.redis_connections",
        "stores.redis_errors",
        "stores.redis_exchange",
        "stores.redis_findings",
        "stores.redis_outboxes",
    },
    "sqlite3": {"stores.sqlite", "stores.sqlite_client"},
    "marshmallow": {"schemas", "votes"},
}
"""What only some files know."""


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


FILES = {name_of(path): path for path in PACKAGE.rglob("*.py")}


def imports(name: str) -> set[str]:
    """The absolute names of the modules that a file imports."""
    found = set()
    package = ["feedback_blueprint", *name.split(".")] if name else ["feedback_blueprint"]
    if FILES[name].name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module or "").split(".")]).rstrip(".")
            found.add(module)
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def test_every_file_has_a_layer():
    assert FILES.keys() == LAYER.keys()


@pytest.mark.parametrize("name", FILES)
def test_a_file_imports_only_from_layers_below(name):
    prefix = "feedback_blueprint"
    ours = {m.removeprefix(prefix).lstrip(".") for m in imports(name) if m.startswith(prefix)}
    for imported in ours & FILES.keys() - {name}:
        if name.startswith("demo") and not imported.startswith("demo"):
            assert imported in ("", "signals"), "the demo uses the face alone"
        elif imported != "":
            below = LAYER[imported] < LAYER[name] or (name, imported) in EXCEPTIONS
            assert below, f"{name} imports {imported}"


@pytest.mark.parametrize("library", ONLY)
def test_a_library_is_known_to_few_files(library):
    knowing = {name for name in FILES if any(m.split(".")[0] == library for m in imports(name))}
    assert knowing - {"demo"} <= ONLY[library]
