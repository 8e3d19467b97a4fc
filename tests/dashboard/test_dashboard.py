"""The dashboard and the README's queries: one text, and well formed.

`SHAPE` states by hand what the published dashboard schema and the Dashboards API's limits ask for.
"""

import re
from itertools import combinations
from pathlib import Path

import jsonschema
import pytest
from dashboard import DASHBOARD, DELIVERY, FEEDBACK, FILE, PAGES, QUERIES
from nrql import Nrql, lex

README = Path(__file__).parents[2] / "README.md"
PACKAGE = README.with_name("feedback_blueprint")
HEADING = "## Reading it in New Relic"


def _object(required, **properties):
    return {"type": "object", "required": required, "properties": properties}


_NAME = {"type": "string", "minLength": 1, "maxLength": 255}
_TEXT = {"type": ["string", "null"], "maxLength": 1024}
_SPAN = {"type": "integer", "minimum": 1, "maximum": 12}
_QUERY = _object(["accountId", "query"], accountId={"const": 0}, query={"type": "string"})
_WIDGET = _object(
    ["title", "layout", "visualization", "rawConfiguration"],
    title=_NAME,
    linkedEntityGuids={"type": "null"},
    layout=_object(
        ["column", "row", "width", "height"],
        column=_SPAN,
        width=_SPAN,
        row={"type": "integer", "minimum": 1},
        height={"type": "integer", "minimum": 1, "maximum": 32},
    ),
    visualization=_object(["id"], id={"type": "string", "pattern": r"^viz\.[a-z-]+$"}),
    rawConfiguration=_object(
        ["nrqlQueries"],
        nrqlQueries={"type": "array", "minItems": 1, "maxItems": 20, "items": _QUERY},
        metrics=False,
        text=False,
    ),
)
SHAPE = {
    **_object(
        ["name", "pages", "permissions"],  # imports without permissions were reported to fail
        name=_NAME,
        description=_TEXT,
        permissions={"enum": ["PUBLIC_READ_WRITE", "PUBLIC_READ_ONLY", "PRIVATE"]},
        pages={
            "type": "array",
            "minItems": 1,
            "maxItems": 2,
            "items": _object(
                ["name", "widgets"],
                name=_NAME,
                description=_TEXT,
                widgets={"type": "array", "minItems": 1, "maxItems": 100, "items": _WIDGET},
            ),
        },
    ),
    "additionalProperties": False,
}


def readme_queries(heading):
    _, _, rest = README.read_text(encoding="utf-8").partition(f"\n{heading}\n")
    section = re.split(r"^##+ ", rest, flags=re.MULTILINE)[0]
    return re.findall(r"^```sql\n(.*?)\n```$", section, flags=re.MULTILINE | re.DOTALL)


def test_the_dashboard_has_the_published_shape():
    jsonschema.validate(DASHBOARD, SHAPE, cls=jsonschema.Draft7Validator)


@pytest.mark.parametrize("widgets", PAGES)
def test_widgets_fit_the_page_and_do_not_overlap(widgets):
    def cells(layout):
        columns = range(layout["column"], layout["column"] + layout["width"])
        rows = range(layout["row"], layout["row"] + layout["height"])
        return {(column, row) for column in columns for row in rows}

    taken = [cells(widget["layout"]) for widget in widgets]
    assert all(column <= 12 for widget in taken for column, _ in widget)
    assert not any(one & other for one, other in combinations(taken, 2))


def test_each_widget_has_a_title_and_a_query_of_its_own():
    assert len(set(QUERIES.values())) == len(QUERIES) == sum(map(len, PAGES))


def test_every_account_id_is_found_by_the_readme_s_replacement():
    assert FILE.count('"accountId": 0') == len(QUERIES)


def test_the_readme_and_the_dashboard_hold_the_same_queries():
    assert sorted(readme_queries(HEADING)) == sorted(FEEDBACK.values())


def counted():
    """The names of all metrics, as the code counts and measures them."""
    called = re.compile(r"\b(?:count|measure)\(\s*\"(\w+)\"")
    return {name for path in PACKAGE.rglob("*.py") for name in called.findall(path.read_text())}


def metrics_in(queries):
    return set(re.findall(r"'Custom/Feedback/(\w+)'", "".join(queries)))


def test_the_second_page_shows_each_metric():
    assert metrics_in(DELIVERY.values()) == counted()


def test_conditions_are_on_metrics_that_there_are_and_have_no_time_of_their_own():
    conditions = readme_queries("### Alerts")
    assert metrics_in(conditions) <= counted()
    for condition in conditions:
        assert not {"SINCE", "TIMESERIES", "JOIN"} & Nrql(lex(condition)).clauses.keys()


def test_the_application_is_found_by_the_readme_s_replacement():
    """A query of such metrics has to name one, as New Relic's documentation says."""
    for query in [*DELIVERY.values(), *readme_queries("### Alerts")]:
        assert query.count("appName = 'YOUR_APP_NAME'") == 1


@pytest.mark.parametrize("title", QUERIES)
def test_a_query_keeps_to_the_reference(title):
    query = Nrql(lex(QUERIES[title]))
    assert query.subqueries <= 3
    assert QUERIES[title].endswith("\nSINCE 1 week ago")
