"""feedback.js in an app's own build: TypeScript, React, Vite, webpack, esbuild, and no page."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from collector import Collector
from documentation import block
from element_page import RECORDED, Visitor, button, element, pressed, says
from needed import needed
from npm_packages import Packages

from feedback_blueprint import errors
from feedback_blueprint.web.assets import FOLDER, assets

STRICT = [
    *("--noEmit", "--strict", "--allowJs", "--jsx", "react-jsx"),
    *("--target", "es2022", "--lib", "es2022,dom,dom.iterable"),
    *("--module", "esnext", "--moduleResolution", "bundler"),
]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Packages]:
    with needed():
        packages = Packages(tmp_path_factory.mktemp("bundles"))
    shutil.copytree(FOLDER, packages.directory / "declared")
    shutil.copytree(FOLDER, packages.directory / "actual", ignore=lambda *_: ["feedback.d.ts"])
    return packages


def test_typescript_takes_what_is_right_and_refuses_what_is_not(packages: Packages) -> None:
    packages.check("node_modules/.bin/tsc", *STRICT, "page.tsx", "drift.ts")


def test_the_types_do_without_react(packages: Packages, tmp_path: Path) -> None:
    shutil.copytree(packages.directory / "declared", tmp_path / "declared")
    shutil.copy(packages.directory / "plain.ts", tmp_path)
    compiler = packages.directory / "node_modules/.bin/tsc"
    packages.check(str(compiler), *STRICT, "plain.ts", cwd=tmp_path)


def test_the_problem_codes_are_those_of_the_blueprint() -> None:
    declared = (FOLDER / "feedback.d.ts").read_text()
    [codes] = re.findall(r"type ProblemCode =(.*?);", declared, re.DOTALL)
    known = {refusal.code for refusal in errors.Refusal.__subclasses__()} | {"unreachable"}
    assert set(re.findall(r'"(.*?)"', codes)) == known


def test_what_is_served_is_the_module_without_comments(packages: Packages) -> None:
    """Minified, nothing but the space in the style sheet tells them apart."""

    def minified(path: Path) -> str:
        minify = packages.check("node_modules/.bin/esbuild", "--minify-whitespace", str(path))
        return re.sub(r"/\*.*?\*/|\s+|\?v=\w+", "", minify)

    for name in ("feedback.js", "element.js", "queue.js"):
        served = packages.directory / f"served-{name}"
        served.write_bytes(assets()[name].content)
        assert minified(served) == minified(FOLDER / name)


@pytest.mark.parametrize("bundler", ["esbuild", "vite", "webpack", "external"])
def test_a_bundle_with_react_votes(
    packages: Packages, visitor: Visitor, collector: Collector, new_id: str, bundler: str
) -> None:
    external = bundler == "external"
    feedback = "/llm/feedback/static/feedback.js" if external else str(FOLDER / "feedback.js")
    packages.check("node", "build.js", bundler, feedback)
    bundle = (packages.directory / bundler / "bundle.js").read_text()
    assert ("Comment on this reply" in bundle) != external

    page = visitor.context.new_page()
    page.route(
        "**/bundle.js", lambda route: route.fulfill(body=bundle, content_type="text/javascript")
    )
    page.goto(visitor.url([new_id, other := f"{new_id}-2"], script="bundle.js"))
    button(page, "Bundled").click()
    says(page, RECORDED)
    [event] = collector.wait_for(message_id=new_id)
    assert event["bundled"] is True
    page.evaluate("id => show(id)", other)
    pressed(button(page, "Bundled"), False)
    assert element(page).get_attribute("message-id") == other
    page.evaluate("messageId => sendFeedback({messageId, rating: 'good'})", other)
    pressed(button(page, "Bundled"))
    collector.wait_for(message_id=other)


def test_a_server_that_renders_pages_can_import_it(packages: Packages) -> None:
    script = (
        "import('./actual/feedback.js').then(({defaults, texts}) => "
        "console.log(defaults.baseUrl, texts.up))"
    )
    assert packages.check("node", "-e", script) == "/feedback Good reply\n"


def test_a_bundle_says_where_the_blueprint_is(packages: Packages) -> None:
    script = packages.directory / "elsewhere.js"
    script.write_text(
        block("static", "js", "defaults.baseUrl") + "console.log(defaults.baseUrl);\n"
    )
    alias = f"--alias:feedback-blueprint={FOLDER / 'feedback.js'}"
    packages.check(
        *("node_modules/.bin/esbuild", "--bundle", "--format=cjs", "--log-level=error", alias),
        *(script.name, "--outfile=elsewhere.cjs", "--log-override:empty-import-meta=silent"),
    )
    assert packages.check("node", "elsewhere.cjs") == "/llm/feedback\n"
