"""The page of figures is what its command measured, and what is alike on any machine is bounded."""

from __future__ import annotations

import re

import pytest
from needed import needed
from quick_benchmarks import BENCHMARKS
from redis_server import RedisServer

#: How much a rated message may take, relative to one kept by hand in the same engine. The one by
#: hand is a string, and Valkey 9 saves most on strings.
RATED_AT_MOST = {"redis": 1.25, "valkey": 1.6}

SECTIONS = [
    *("sockets", "in_process", "clients", "pages"),
    *("growth", "sharing", "drain", "memory"),
]

#: What is measured beside a figure.
NUMBER = re.compile(r"\d+\.\d|\d ?(ms|µs|s|bytes|MB|GB|/s|%)\b|^\|", re.MULTILINE)


def outside(figures, page):
    """What stands on a page around its figures."""
    begin = re.escape(figures.BEGIN).replace(r"\{\}", r"\w+")
    return re.sub(f"{begin}.*?{figures.END}", "", page, flags=re.DOTALL)


def test_a_message_takes_little_more_than_one_kept_by_hand(tmp_path, import_benchmark):
    memory = import_benchmark("memory")
    with needed(), RedisServer(tmp_path) as server:
        memory.weigh(server, 100)  # which loads the scripts
        bytes_of = memory.weigh(server, 2_000)  # which fill their tables
        engine = server.info("server").get("server_name", "redis")
    assert bytes_of["unrated"] / bytes_of["by hand"] <= 0.85
    assert bytes_of["rated"] / bytes_of["by hand"] <= RATED_AT_MOST[engine]
    assert bytes_of["undelivered"] > bytes_of["rated"]


@pytest.mark.parametrize("sections", [SECTIONS[:3], SECTIONS[4:]], ids=" ".join)
def test_a_quick_run_measures_and_renders_each_section_that_needs_no_browser(sections, measured):
    assert all(measured(*sections).values())


def test_each_section_is_on_the_page(import_benchmark):
    figures = import_benchmark("figures")
    page = (BENCHMARKS / "README.md").read_text()
    names = re.findall(re.escape(figures.BEGIN).replace(r"\{\}", r"(\w+)"), page)
    assert list(figures.SECTIONS) == SECTIONS
    assert sorted(names) == sorted([*SECTIONS, "circumstances", "summary", "sizing"])


def test_the_page_and_the_picture_are_what_was_measured(import_benchmark):
    figures = import_benchmark("figures")
    measured = figures.read(BENCHMARKS / "figures.json")
    assert list(measured) == list(figures.SECTIONS)
    page = (BENCHMARKS / "README.md").read_text()
    assert figures.filled(page, figures.blocks(measured)) == page
    assert not NUMBER.search(outside(figures, page))
    assert (BENCHMARKS / "benchmark.svg").read_text() == figures.picture(measured)


def test_what_the_readme_quotes_is_on_the_page(import_benchmark):
    figures = import_benchmark("figures")
    readme = figures.README.read_text()
    measured = figures.read(BENCHMARKS / "figures.json")
    links = "tests/benchmarks/README.md" in readme
    assert links == (figures.BEGIN.partition("{")[0] in readme)
    assert figures.filled(readme, figures.blocks(measured)) == readme
