"""The dashboard and the queries of its page: one text, and well formed.

`SHAPE` states by hand what the published dashboard schema and the Dashboards API's limits ask for.
"""

import json
import re
from itertools import combinations

import jsonschema
import pytest
from dashboard import DASHBOARD, DELIVERY, FEEDBACK, PAGES, QUERIES
from documentation import block, run
from gunicorn_server import APPS
from nrql import Nrql, lex
from runbook import METRICS

#: Of the page, in its order, which is not that of the widgets.
SHOWN = [
    block("dashboard", "sql", "'changed or retracted'"),
    block("dashboard", "sql", "AS 'retractions'"),
    block("dashboard", "sql", "FACET rating"),
    block("dashboard", "sql", "FACET model"),
    block("dashboard", "sql", "FACET prompt_version"),
    block("dashboard", "sql", "AS comment,"),
    block("dashboard", "sql", "FROM LlmChatCompletionMessage"),
    block("dashboard", "sql", "FACET message_id, feedback_id"),
]
CONDITIONS = [
    block("dashboard", "sql", "'Custom/Feedback/VotesRefused'"),
    block("dashboard", "sql", "'Custom/Feedback/OldestUndelivered'"),
    block("dashboard", "sql", "'Custom/Feedback/StoreSeconds'"),
    block("dashboard", "sql", "'Custom/Feedback/VotesUnknown'"),
]


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


def test_the_command_of_the_page_puts_the_account_and_the_application_everywhere(tmp_path):
    env = {"FLASK_APP": "chat", "FLASK_FEEDBACK_STORE_URL": f"sqlite:///{tmp_path}/feedback.db"}
    printed = run(block("dashboard", "sh", "feedback dashboard"), APPS, env)
    assert printed.count('"accountId": 1234567') == len(QUERIES)
    assert printed.count("'My app'") == len(DELIVERY)
    widgets = [widget for page in json.loads(printed)["pages"] for widget in page["widgets"]]
    assert len(widgets) == len(QUERIES)
    assert '"accountId": 0' not in printed
    assert "YOUR_APP_NAME" not in printed


def test_the_page_and_the_dashboard_hold_the_same_queries():
    assert sorted(query.rstrip() for query in SHOWN) == sorted(FEEDBACK.values())


def metrics_in(queries):
    return set(re.findall(r"'Custom/Feedback/(\w+)'", "".join(queries)))


def test_the_second_page_shows_each_metric():
    assert metrics_in(DELIVERY.values()) == METRICS


def test_conditions_are_on_metrics_that_there_are_and_have_no_time_of_their_own():
    assert metrics_in(CONDITIONS) <= METRICS
    for condition in CONDITIONS:
        assert not {"SINCE", "TIMESERIES", "JOIN"} & Nrql(lex(condition)).clauses.keys()


def test_each_query_of_a_metric_names_the_application():
    """New Relic's documentation asks for that."""
    for query in [*DELIVERY.values(), *CONDITIONS]:
        assert query.count("appName = 'YOUR_APP_NAME'") == 1


@pytest.mark.parametrize("title", QUERIES)
def test_a_query_keeps_to_the_reference(title):
    query = Nrql(lex(QUERIES[title]))
    assert query.subqueries <= 3
    assert QUERIES[title].endswith("\nSINCE 1 week ago")
