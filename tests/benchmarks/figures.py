"""Measures what the package costs, and writes README.md beside it, with its picture.

    python tests/benchmarks/figures.py [SECTION ...] [--minutes 20] [--quick]

Each section has a date and a machine of its own, so that it can be measured anew alone. What was
measured is kept in figures.json; the page's tables are made of nothing else.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, astuple
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import sizing
from picture import Bar, draw
from ratio import QUICK, Effort, Ratio
from redis_server import redis_binary
from sockets import NAMES

HERE = Path(__file__).parent
README = HERE.parents[1] / "README.md"

WHOLE = 20
"""Minutes of a run with all its messages."""

SECTIONS = {
    "sockets": 0.15,
    "in_process": 0.05,
    "clients": 0.1,
    "pages": 0.03,
    "growth": 0.03,
    "sharing": 0.04,
    "drain": 0,
    "memory": 0,
}
"""Which part of the minutes each may go on for; the rest is for what takes its own time."""

BEGIN, END = "<!-- figures: {} -->", "<!-- end of figures -->"

PACKAGES = ("newrelic", "redis", "flask", "gunicorn", "gevent")


# What is kept of a run


def measure(name: str, seconds: float, share: float) -> dict[str, Any]:
    circumstances = {
        "date": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
        "machine": machine(),
        "software": software(),
        "load": os.getloadavg()[0],
        "share": share,
    }
    section = importlib.import_module(name)
    with tempfile.TemporaryDirectory() as directory:
        start = time.monotonic()
        found = section.measure(Path(directory), Effort(seconds, share))
        circumstances["seconds"] = time.monotonic() - start
    return circumstances | {"figures": found}


def machine() -> str:
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text().splitlines() if cpus.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    kind = names[0] if names else platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores of {kind}, {memory:.0f} GB, {platform.system()} "
        f"{platform.release().partition('-')[0]}"
    )


def software() -> str:
    server = subprocess.check_output([redis_binary(), "--version"], text=True).split()
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return f"Python {platform.python_version()}, {packages}, {server[0]} {server[2][2:]}"


def write(path: Path, sections: dict[str, Any]) -> None:
    text = json.dumps(sections, default=asdict, indent=1)
    path.write_text(f"{text}\n", encoding="utf-8")


def read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}

    def ratio(found: dict[str, Any]) -> Any:
        return Ratio(**found) if found.keys() == {"low", "median", "high"} else found

    return dict(json.loads(path.read_text(encoding="utf-8"), object_hook=ratio))


# The page


def blocks(sections: dict[str, Any]) -> dict[str, list[str]]:
    """The lines of each block of figures, by its name."""
    found = {"circumstances": list(circumstances(sections)), "summary": list(summary(sections))}
    for name, section in sections.items():
        lines = importlib.import_module(name).render(section["figures"])
        found[name] = [when(section), "", *lines]
    if all(name in sections for name in sizing.NEEDS):
        found["sizing"] = list(
            sizing.render({name: sections[name]["figures"] for name in sizing.NEEDS})
        )
    return found


def when(section: dict[str, Any]) -> str:
    share = "" if section["share"] == 1 else f" **with {section['share']:.1%} of the messages**,"
    return (
        f"*Measured {section['date']},{share} in {section['seconds']:.0f} seconds; load "
        f"{section['load']:.1f} before.*"
    )


def circumstances(sections: dict[str, Any]) -> Iterator[str]:
    yield "| measured | sections | machine | software |"
    yield "|---|---|---|---|"
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, section in sections.items():
        same = section["date"][:10], section["machine"], section["software"]
        alike.setdefault(same, []).append(name)
    for (date, *where), names in sorted(alike.items()):
        yield f"| {date} | {', '.join(names)} | {' | '.join(where)} |"


def summary(sections: dict[str, Any]) -> Iterator[str]:
    """What the project's README quotes."""
    figures = {name: section["figures"] for name, section in sections.items()}
    if "sockets" in figures:
        yield "| over sockets, relative to twenty lines by hand | chats/s | votes/s |"
        yield "|---|---|---|"
        for name, label in NAMES.items():
            of = figures["sockets"]["apps"][name]
            beside = " | ".join(
                f"1.00 ({of[what].median:.0f}/s)"
                if name == "by_hand"
                else str(of[f"{what} to hand"])
                for what in ("chats", "votes")
            )
            yield f"| {label} | {beside} |"
    if "in_process" in figures:
        yield ""
        yield from importlib.import_module("in_process").render(figures["in_process"])
    if "memory" in figures:
        yield ""
        weights, grown = figures["memory"]["weights"], figures["memory"]["grown"]
        engine, states = next(iter(weights.items()))
        hand, unrated, rated = (
            states[state]["bytes"].median for state in ("by hand", "unrated", "rated")
        )
        yield (
            f"A message takes {unrated:.0f} bytes in {engine} and a rated one {rated:.0f}; by "
            f"hand, each takes {hand:.0f}. Over {grown['requests']:,} requests, a worker's memory "
            f"changes by {grown['ours']['slope']:.1f} bytes a request; by hand, by "
            f"{grown['by_hand']['slope']:.1f}."
        )


def filled(text: str, blocks: dict[str, list[str]]) -> str:
    """The text with each block of figures in place of the one that it has."""
    for name, lines in blocks.items():
        begin = BEGIN.format(name)
        if begin in text:
            before, _, rest = text.partition(begin)
            _, _, after = rest.partition(END)
            block = "\n".join(lines)
            text = f"{before}{begin}\n\n{block}\n\n{END}{after}"
    return text


def picture(sections: dict[str, Any]) -> str:
    apps = sections["sockets"]["figures"]["apps"]
    bars = {
        what: [Bar(label, *astuple(apps[name][f"{what} to hand"])) for name, label in NAMES.items()]
        for what in ("chats", "votes")
    }
    return draw({"Chats a second": bars["chats"], "New votes a second": bars["votes"]})


def publish(sections: dict[str, Any], directory: Path) -> None:
    """Write figures.json, the page and its picture; in their place, what the README quotes, too."""
    write(directory / "figures.json", sections)
    sections = read(directory / "figures.json")
    page = (HERE / "README.md").read_text(encoding="utf-8")
    (directory / "README.md").write_text(filled(page, blocks(sections)), encoding="utf-8")
    if "sockets" in sections:
        (directory / "benchmark.svg").write_text(picture(sections), encoding="utf-8")
    if directory == HERE:
        quoting = README.read_text(encoding="utf-8")
        README.write_text(filled(quoting, blocks(sections)), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", help=", ".join(SECTIONS))
    parser.add_argument("--minutes", type=float, default=WHOLE, help="of a run of all sections")
    parser.add_argument("--quick", action="store_true", help="only to see that all of it works")
    parser.add_argument(
        "--into", type=Path, help="a directory, instead of this or, quick, a new one"
    )
    arguments = parser.parse_args()
    into = arguments.into or (Path(tempfile.mkdtemp()) if arguments.quick else HERE)
    share = QUICK if arguments.quick else min(arguments.minutes / WHOLE, 1)
    sections = read(into / "figures.json")
    for name in arguments.sections or SECTIONS:
        part = 0 if arguments.quick else SECTIONS[name]
        sections[name] = measure(name, arguments.minutes * 60 * part, share)
        sections = {each: sections[each] for each in SECTIONS if each in sections}
        publish(sections, into)
        print(f"{name}: {sections[name]['seconds']:.0f} s", flush=True)
    print(into / "README.md")


if __name__ == "__main__":
    main()
