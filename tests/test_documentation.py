"""All pages: each block of code is taken by a test, and each link leads somewhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from documentation import FENCED, PAGES, TESTS, Block, blocks_of, text_of

LOOKED_AT = {"mermaid"}
"""Languages of what nobody runs."""

BLOCKS = [
    pytest.param(page, each, id=f"{page}-{number}")
    for page in PAGES
    for number, each in enumerate(blocks_of(page))
    if each.language not in LOOKED_AT
]


@pytest.fixture(scope="module")
def taken() -> set[tuple[str, ...]]:
    """The arguments of each call of `block` in the tests."""
    return set(calls_of_block())


def calls_of_block() -> Iterator[tuple[str, ...]]:
    for path in TESTS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "block":
                yield tuple(str(ast.literal_eval(argument)) for argument in node.args)


def test_there_are_pages_with_blocks() -> None:
    assert {"README", "static", "web", "messages", "agent", "stores", "dashboard"} <= PAGES.keys()
    assert {"tests", "SECURITY", "CONTRIBUTING"} <= PAGES.keys()
    assert len(BLOCKS) > 50


@pytest.mark.parametrize(("page", "each"), BLOCKS)
def test_each_block_is_taken_by_a_test(taken: set[tuple[str, ...]], page: str, each: Block) -> None:
    """A call takes one block alone, or fails where it is."""
    marks = [mark for name, language, mark in taken if (name, language) == (page, each.language)]
    assert any(mark in each.code for mark in marks), each.code


@pytest.mark.parametrize("page", PAGES)
def test_each_block_is_found(page: str) -> None:
    """One in a list, or without an end, would be none."""
    assert not re.search("```|~~~", FENCED.sub("", text_of(page)))


def anchors(path: Path) -> set[str]:
    """As GitHub makes them of the headings."""
    prose = FENCED.sub("", path.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES)
def test_each_link_leads_somewhere(page: str) -> None:
    path = PAGES[page]
    prose = FENCED.sub("", text_of(page))
    for file, anchor in re.findall(r"\]\((?!https:)([^)#]*)#?([^)]*)\)", prose):
        other = path.parent / file if file else path
        assert other.exists(), file
        if anchor:
            assert anchor in anchors(other), anchor


@pytest.mark.parametrize("page", PAGES)
def test_each_page_can_be_reached_from_the_readme(page: str) -> None:
    """Along links, a link to a folder being one to its page."""
    reached, left = set(), [PAGES["README"]]
    while left:
        path = left.pop()
        if path.suffix == ".md" and path.exists() and path not in reached:
            reached.add(path)
            links = re.findall(r"\]\((?!https:)([^)#]+)", path.read_text(encoding="utf-8"))
            found = [(path.parent / link).resolve() for link in links]
            left += [each / "README.md" if each.is_dir() else each for each in found]
    assert PAGES[page].resolve() in {each.resolve() for each in reached}


def test_each_row_of_the_threat_table_names_a_test_that_exists() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in TESTS.rglob("*.py"))
    named = re.findall(r"`(test_\w+)`", text_of("SECURITY"))
    assert named
    assert [name for name in named if f"def {name}(" not in tests] == []
