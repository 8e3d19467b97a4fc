"""The dashboard and the README's queries: one text, well formed, and right about revisions.

No New Relic account is at hand, so two stand-ins are used. `SHAPE` states by hand what the
published dashboard schema and the Dashboards API's limits ask for. `Nrql` reads the part of NRQL
that the reference documents and we use, refuses everything else, and turns it into SQLite, so that
every query runs over votes whose standing result is known.
"""

import json
import random
import re
import sqlite3
from importlib import resources
from itertools import combinations
from pathlib import Path

import jsonschema
import pytest

README = Path(__file__).parents[1] / "README.md"
HEADING = "## Reading it in New Relic"

FEEDBACK = {
    "timestamp", "trace_id", "message_id", "feedback_id", "revision", "rating", "score",
    "retracted", "category", "message", *(f"message_{n}" for n in range(2, 18)),
    "model", "prompt_version",  # the README's example of a context
}  # fmt: skip
ANSWER = {
    "timestamp", "id", "request_id", "span_id", "trace_id", "completion_id", "sequence", "role",
    "content", "is_response", "response.model", "vendor", "token_count", "ingest_source",
}  # fmt: skip
EVENTS = {"LlmFeedbackMessage": FEEDBACK, "LlmChatCompletionMessage": ANSWER}

FILE = resources.files("feedback_blueprint").joinpath("dashboard.json").read_text(encoding="utf-8")
DASHBOARD = json.loads(FILE)
WIDGETS = DASHBOARD["pages"][0]["widgets"]
QUERIES = {
    widget["title"]: query["query"]
    for widget in WIDGETS
    for query in widget["rawConfiguration"]["nrqlQueries"]
}


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
            "maxItems": 1,
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


def readme_queries():
    _, _, rest = README.read_text(encoding="utf-8").partition(f"\n{HEADING}\n")
    section = re.split(r"^## ", rest, flags=re.MULTILINE)[0]
    return re.findall(r"^```sql\n(.*?)\n```$", section, flags=re.MULTILINE | re.DOTALL)


# --- NRQL, as far as its reference documents it and we use it -----------------------------------

CLAUSES = ("FROM", "JOIN", "ON", "SELECT", "WHERE", "FACET", "ORDER BY", "LIMIT", "TIMESERIES",
           "SINCE")  # fmt: skip
WORDS = {"AND", "OR", "IS", "NOT", "NULL", "TRUE", "FALSE", "ASC", "DESC"}
TOKEN = re.compile(
    r"\s*(?:(?P<word>(?:LEFT )?JOIN\b|ORDER BY\b|[A-Za-z_][A-Za-z0-9_.]*)"
    r"|(?P<text>'[^']*')|(?P<number>\d+)|(?P<mark><=|>=|!=|[=<>(),:]))"
)
MAX = 5000
SIX_HOURS = 6 * 3600 * 1000  # what TIMESERIES AUTO makes of a week


class NrqlError(ValueError):
    """Not in the reference, or not in the part of it that we use."""


def lex(text):
    text, tokens, at = text.strip(), [], 0
    while at < len(text):
        found = TOKEN.match(text, at)
        if not found:
            raise NrqlError(f"cannot read {text[at : at + 20]!r}")
        tokens.append((found.lastgroup, found[found.lastgroup]))
        at = found.end()
    return tokens


def split(tokens, at_comma=True):
    """Cut at the commas, or before the clause words, that are in no parentheses."""
    depth, parts = 0, [[]]
    for kind, value in tokens:
        cut = depth == 0 and (
            value == "," if at_comma else kind == "word" and value.removeprefix("LEFT ") in CLAUSES
        )
        depth += (value == "(") - (value == ")")
        if depth < 0:
            raise NrqlError("a parenthesis too many")
        if cut:
            parts.append([])
        if not (cut and at_comma):
            parts[-1].append((kind, value))
    if depth:
        raise NrqlError("an open parenthesis")
    return parts


def closing(tokens):
    """Where the parenthesis closes that `tokens` begin with."""
    depth = 0
    for at, (_, value) in enumerate(tokens):
        depth += (value == "(") - (value == ")")
        if not depth:
            return at
    raise NrqlError("an open parenthesis")


class Nrql:
    """One query: read, checked and turned into SQL; `names` are the columns it hands on."""

    def __init__(self, tokens, outermost=True):
        self.clauses = {}
        for clause in filter(None, split(tokens, at_comma=False)):
            (_, word), *rest = clause
            self.left = word.startswith("LEFT") or getattr(self, "left", False)
            word = word.removeprefix("LEFT ")
            if word not in CLAUSES or word in self.clauses:
                raise NrqlError(f"unexpected {word}")
            self.clauses[word] = rest
        order = [CLAUSES.index(word) for word in self.clauses]
        if order != sorted(order) or not {"FROM", "SELECT"} <= self.clauses.keys():
            raise NrqlError("clauses missing or out of order")
        if not outermost and {"SINCE", "TIMESERIES"} & self.clauses.keys():
            raise NrqlError("SINCE and TIMESERIES belong to the outermost query")
        self.subqueries = 0
        self.aggregates = False
        self.sql = self.build()

    def build(self):
        source = self.source()
        columns = [self.column(item) for item in split(self.clauses["SELECT"])]
        where = self.expression(self.clauses.get("WHERE", [])) or "TRUE"
        facets = [self.expression(item) for item in split(self.clauses.get("FACET", [])) if item]
        if len(facets) > 5 or (facets and not self.aggregates):
            raise NrqlError("FACET takes one to five attributes of an aggregating query")
        self.names = {name for _, name in columns} | {facet.strip('"') for facet in facets}
        first = columns[0][0]
        grouped = list(facets)
        if "TIMESERIES" in self.clauses:
            if self.clauses["TIMESERIES"] != [("word", "AUTO")] or not self.aggregates:
                raise NrqlError("TIMESERIES AUTO, and only over aggregates")
            grouped.append(f"timestamp / {SIX_HOURS}")
        shown = [*facets, *(f'{sql} AS "{name}"' for sql, name in columns)]
        sql = f"SELECT {', '.join(shown)} FROM {source} WHERE {where}"
        if grouped:  # the first function picks the facets: highest first, null never
            sql += f" GROUP BY {', '.join(grouped)} HAVING {first} IS NOT NULL"
        return f"{sql} {self.order(first, bool(facets))}"

    def source(self):
        [(_, event)] = self.clauses["FROM"]
        if event not in EVENTS:
            raise NrqlError(f"no such event: {event}")
        self.known = set(EVENTS[event])
        if "JOIN" not in self.clauses:
            return event
        [(_, key)] = self.clauses.get("ON", [(None, None)])
        inner = self.clauses["JOIN"]
        if inner[0][1] != "(" or closing(inner) != len(inner) - 1:
            raise NrqlError("JOIN takes a query in parentheses")
        joined = Nrql(inner[1:-1], outermost=False)
        if key not in self.known & joined.names:
            raise NrqlError(f"both sides of the JOIN need {key}")
        self.subqueries = joined.subqueries + 1
        self.known |= joined.names
        return f"{event} {'LEFT ' if self.left else ''}JOIN ({joined.sql}) USING ({key})"

    def column(self, item):
        name = None
        if len(item) > 2 and item[-2] == ("word", "AS"):
            *item, _, (_, name) = item
        return self.expression(item), (name or item[-1][1]).strip("'")

    def order(self, first, faceted):
        word = self.clauses.get("LIMIT", [("number", "10" if faceted else "100")])
        limit = MAX if word == [("word", "MAX")] else int(word[0][1])
        if limit > MAX:
            raise NrqlError(f"LIMIT {limit} is over {MAX}")
        if self.aggregates and "ORDER BY" in self.clauses:
            raise NrqlError("ORDER BY is for rows")
        by = self.expression(self.clauses.get("ORDER BY", []))
        by = by or (f"{first} DESC" if self.aggregates else "timestamp DESC")
        return f"ORDER BY {by} LIMIT {limit}"

    def expression(self, tokens):
        out, rest = [], list(tokens)
        while rest:
            kind, value = rest.pop(0)
            if kind != "word":
                out.append(value)
            elif rest and rest[0][1] == "(" and value not in WORDS:
                end = closing(rest)
                out.append(self.call(value, split(rest[1:end])))
                del rest[: end + 1]
            elif value in WORDS:
                out.append(value)
            elif value in self.known:
                out.append(f'"{value}"')
            else:
                raise NrqlError(f"no such attribute: {value}")
        sql = " ".join(out)
        if "IS NOT TRUE" in sql or "IS NOT FALSE" in sql:
            raise NrqlError("IS NOT TRUE is not documented")
        return sql

    def call(self, name, arguments):
        if name == "concat":
            if len(arguments) > 20:
                raise NrqlError("concat takes up to 20 arguments")
            return f"concat_({', '.join(map(self.expression, arguments))})"
        self.aggregates = True
        if name == "filter":
            function, (where, *condition) = arguments
            if where != ("word", "WHERE"):
                raise NrqlError("filter takes a function and a WHERE")
            return f"{self.expression(function)} FILTER (WHERE {self.expression(condition)})"
        if name == "uniqueCount":
            named = arguments[-1][:2] == [("word", "precision"), ("mark", ":")]
            if named and not 256 <= int(arguments.pop()[2][1]) <= 50_000:
                raise NrqlError("precision is 256 to 50,000")
            return f"count(DISTINCT {' || char(0) || '.join(map(self.expression, arguments))})"
        [argument] = map(self.expression, arguments)
        if name == "latest":
            return f"latest({argument}, timestamp)"
        if name in ("max", "average"):
            return f"{'avg' if name == 'average' else name}({argument})"
        raise NrqlError(f"no such function: {name}")


class Latest:
    """The value of the latest event that has one; a tie of times goes either way."""

    def __init__(self):
        self.best = None

    def step(self, value, timestamp):
        draw = (timestamp, random.random())
        if value is not None and (self.best is None or draw > self.best[0]):
            self.best = (draw, value)

    def finalize(self):
        return self.best and self.best[1]


def run(query, feedback, answers=()):
    db = sqlite3.connect(":memory:")
    db.row_factory = sqlite3.Row
    db.create_aggregate("latest", 2, Latest)
    db.create_function("concat_", -1, lambda *parts: "".join(p for p in parts if p is not None))
    for event, rows in (("LlmFeedbackMessage", feedback), ("LlmChatCompletionMessage", answers)):
        columns = sorted(EVENTS[event])
        db.execute(f"CREATE TABLE {event} ({', '.join(map(json.dumps, columns))})")
        marks = ", ".join("?" * len(columns))
        values = [[row.get(column) for column in columns] for row in rows]
        db.executemany(f"INSERT INTO {event} VALUES ({marks})", values)
    return [dict(row) for row in db.execute(Nrql(lex(query)).sql)]


# --- votes --------------------------------------------------------------------------------------


def event(feedback_id, revision, rating, **more):
    scores = {"bad": 0.0, "fair": 0.5, "good": 1.0}
    return {
        "timestamp": 1_000_000, "feedback_id": feedback_id, "message_id": f"m-{feedback_id}",
        "trace_id": f"t-{feedback_id}", "revision": revision, "rating": rating,
        "score": scores.get(rating), "retracted": rating == "retracted", **more,
    }  # fmt: skip


def campaign(seed, raters=40):
    """Votes, changes, retractions and votes after them; repeats; out of order; in one instant."""
    rng = random.Random(seed)
    events = []
    for rater in range(raters):
        context = {"model": rng.choice("xyz"), "prompt_version": rng.choice(["v1", "v2"])}
        for revision in range(1, rng.choice([1, 1, 1, 2, 3, 5]) + 1):
            rating = rng.choice(["bad", "fair", "good"] + ["retracted"] * (revision > 1))
            comment = rng.choice([{}, {"message": ""}, {"message": "Hm, ", "message_2": "well"}])
            at = 1_000_000 + rng.choice([0, 0, 1, -5])  # the clocks of two workers differ
            one = event(f"f{rater}", revision, rating, timestamp=at, **context, **comment)
            events += [one, one | {"timestamp": at + rng.choice([0, 7])}][
                : rng.choice([1, 1, 1, 2])
            ]
    rng.shuffle(events)
    return events


def standing(events):
    """The same in Python: the highest revision of each rater, unless it is a retraction."""
    votes = {}
    for vote in events:
        if vote["revision"] >= votes.get(vote["feedback_id"], vote)["revision"]:
            votes[vote["feedback_id"]] = vote
    return [vote for vote in votes.values() if not vote["retracted"]]


# --- tests --------------------------------------------------------------------------------------


def test_the_dashboard_has_the_published_shape():
    jsonschema.validate(DASHBOARD, SHAPE, cls=jsonschema.Draft7Validator)


def test_widgets_fit_the_page_and_do_not_overlap():
    def cells(layout):
        columns = range(layout["column"], layout["column"] + layout["width"])
        rows = range(layout["row"], layout["row"] + layout["height"])
        return {(column, row) for column in columns for row in rows}

    taken = [cells(widget["layout"]) for widget in WIDGETS]
    assert all(column <= 12 for widget in taken for column, _ in widget)
    assert not any(one & other for one, other in combinations(taken, 2))


def test_each_widget_has_a_title_and_a_query_of_its_own():
    assert len(set(QUERIES.values())) == len(QUERIES) == len(WIDGETS)


def test_every_account_id_is_found_by_the_readme_s_replacement():
    assert FILE.count('"accountId": 0') == len(QUERIES)


def test_the_readme_and_the_dashboard_hold_the_same_queries():
    assert sorted(readme_queries()) == sorted(QUERIES.values())


@pytest.mark.parametrize("title", QUERIES)
def test_a_query_keeps_to_the_reference(title):
    query = Nrql(lex(QUERIES[title]))
    assert query.subqueries <= 3
    assert QUERIES[title].endswith("\nSINCE 1 week ago")


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("SELECT stars FROM LlmFeedbackMessage", "out of order"),
        ("FROM LlmFeedbackMessage SELECT stars", "attribute: stars"),
        ("FROM LlmFeedback SELECT rating", "event: LlmFeedback"),
        ("FROM LlmFeedbackMessage SELECT sum(score)", "function: sum"),
        ("FROM LlmFeedbackMessage SELECT rating WHERE retracted IS NOT TRUE", "not documented"),
        ("FROM LlmFeedbackMessage SELECT rating WHERE (retracted IS TRUE", "open parenthesis"),
        ("FROM LlmFeedbackMessage SELECT rating LIMIT 5001", "over 5000"),
        ("FROM LlmFeedbackMessage SELECT average(score) FACET model ORDER BY model", "for rows"),
        ("FROM LlmFeedbackMessage SELECT rating FACET model", "FACET"),
        (
            "FROM LlmFeedbackMessage JOIN (FROM LlmFeedbackMessage SELECT max(revision) AS last"
            " FACET message_id) ON feedback_id SELECT rating",
            "need feedback_id",
        ),
        (
            "FROM LlmFeedbackMessage JOIN (FROM LlmFeedbackMessage SELECT max(revision) AS last"
            " FACET message_id SINCE 1 day ago) ON message_id SELECT rating",
            "outermost",
        ),
    ],
)
def test_the_reader_refuses_what_is_wrong(query, complaint):
    with pytest.raises(NrqlError, match=complaint):
        Nrql(lex(query))


@pytest.mark.parametrize("seed", range(20))
def test_only_the_highest_revision_stands(seed):
    events = campaign(seed)
    rows = run(QUERIES["Standing vote of each message"], events)
    assert {(row["feedback_id"], row["revision"], row["rating"], row["score"]) for row in rows} == {
        (vote["feedback_id"], vote["revision"], vote["rating"], vote["score"])
        for vote in standing(events)
    }
    assert len(rows) == len(standing(events))  # a repeated event adds no row


@pytest.mark.parametrize("seed", range(20))
def test_standing_votes_are_counted_once_by_rating(seed):
    events = campaign(seed)
    counted = {}
    for row in run(QUERIES["Standing votes by rating"], events):
        counted[row["rating"]] = counted.get(row["rating"], 0) + row["votes"]
    ratings = [vote["rating"] for vote in standing(events)]
    assert counted == {rating: ratings.count(rating) for rating in set(ratings)}


@pytest.mark.parametrize("attribute", ["model", "prompt_version"])
@pytest.mark.parametrize("seed", range(10))
def test_average_score_is_that_of_the_standing_votes(seed, attribute):
    events = list({(e["feedback_id"], e["revision"]): e for e in campaign(seed)}.values())
    rows = run(QUERIES[f"Average score by {attribute.replace('_', ' ')}"], events)
    scores = {}
    for vote in standing(events):
        scores.setdefault(vote[attribute], []).append(vote["score"])
    assert {row[attribute]: (row["average score"], row["votes"]) for row in rows} == {
        value: (pytest.approx(sum(of) / len(of)), len(of)) for value, of in scores.items()
    }


def test_votes_without_a_score_do_not_enter_the_average():
    events = [event("a", 1, "good", model="x"), event("b", 1, "shrug", model="x")]
    [row] = run(QUERIES["Average score by model"], events)
    assert (row["average score"], row["votes"]) == (1.0, 1)


def test_worst_comments_come_first_whole_and_without_withdrawn_ones():
    parts = {"message": "part 1,", **{f"message_{n}": f"part {n}," for n in range(2, 18)}}
    events = [
        event("a", 1, "good", message="Lovely"),
        event("b", 1, "bad", **parts),
        event("c", 1, "bad", message="Withdrawn"),
        event("c", 2, "bad", message=""),
        event("d", 1, "bad", message="Taken back"),
        event("d", 2, "retracted"),
        event("e", 1, "bad"),
    ]
    rows = run(QUERIES["Comments of the worst-rated"], events)
    assert [row["comment"] for row in rows] == ["".join(parts.values()), "Lovely"]


def test_the_longest_comment_fits_the_parts_a_query_reads():
    # 4,095 bytes, cut between characters into values of at most 255 bytes
    assert -(-4095 // (255 - 3)) == 17
    assert "message_17\n" in QUERIES["Comments of the worst-rated"]


def test_answers_are_joined_to_the_standing_votes_of_their_trace():
    events = [
        event("a", 1, "good", trace_id="t1"),
        event("a", 2, "bad", trace_id="t1", message="Wrong year"),
        event("a", 2, "bad", trace_id="t1", message="Wrong year"),
        event("b", 1, "good", trace_id="t2"),
        event("c", 1, "good", trace_id="t3"),
        event("c", 2, "retracted", trace_id="t3"),
    ]
    answers = [
        {"trace_id": trace, "content": content, "is_response": response, "timestamp": 1}
        for trace in ("t1", "t2", "t3", "t4")
        for content, response in ((f"question {trace}", None), (f"answer {trace}", True))
    ]
    rows = run(QUERIES["Answers behind the votes"], events, answers)
    assert [(row["content"], row["vote"], row["comment"]) for row in rows] == [
        ("answer t1", "bad", "Wrong year"),
        ("answer t2", "good", None),
    ]


def test_totals_count_each_vote_once():
    events = [
        event("a", 1, "good"),
        event("a", 1, "good"),
        event("b", 1, "good"),
        event("b", 2, "bad"),
        event("c", 1, "good"),
        event("c", 2, "retracted"),
        event("c", 2, "retracted"),
    ]
    [row] = run(QUERIES["Feedback received"], events)
    assert row == {"votes": 3, "changed or retracted": 2, "retracted": 1}
    [row] = run(QUERIES["Retractions"], events)
    assert row["retractions"] == 1


def test_votes_are_right_beyond_the_limit_of_a_subquery():
    """Only changed votes pass through the JOIN's 5,000 rows, so unchanged ones may be many more."""
    events = [event(f"f{n}", 1, "good") for n in range(MAX + 1_000)]
    events += [event(f"f{n}", 2, "bad") for n in range(MAX)]
    rows = run(QUERIES["Standing votes by rating"], events)
    assert {row["rating"]: row["votes"] for row in rows} == {"good": 1_000, "bad": MAX}
