"""NRQL, as far as its reference documents it and the dashboard uses it.

No New Relic account is at hand. `Nrql` reads that part of the language, refuses everything else,
and turns it into SQLite, so that every query runs over votes whose standing result is known. This
proves that a query is well formed and asks for the right thing, if New Relic does what its
reference says; that New Relic answers so, only an account can prove.
"""

import json
import random
import re
import sqlite3

FEEDBACK = {
    "timestamp", "trace_id", "message_id", "feedback_id", "revision", "rating", "score",
    "retracted", "category", "message", *(f"message_{n}" for n in range(2, 18)),
    "model", "prompt_version",  # the example of a context in the documentation
}  # fmt: skip
ANSWER = {
    "timestamp", "id", "request_id", "span_id", "trace_id", "completion_id", "sequence", "role",
    "content", "is_response", "response.model", "vendor", "token_count", "ingest_source",
}  # fmt: skip
METRIC = {"timestamp", "appName", "metricTimesliceName", "newrelic.timeslice.value"}
EVENTS = {"LlmFeedbackMessage": FEEDBACK, "LlmChatCompletionMessage": ANSWER, "Metric": METRIC}

CLAUSES = ("FROM", "JOIN", "ON", "SELECT", "WHERE", "FACET", "ORDER BY", "LIMIT", "TIMESERIES",
           "SINCE")  # fmt: skip
WORDS = {"AND", "OR", "IN", "IS", "NOT", "NULL", "TRUE", "FALSE", "ASC", "DESC"}
TOKEN = re.compile(
    r"\s*(?:(?P<word>(?:LEFT )?JOIN\b|ORDER BY\b|[A-Za-z_][A-Za-z0-9_.]*)"
    r"|(?P<text>'[^']*')|(?P<number>\d+)|(?P<mark><=|>=|!=|[-=<>(),:]))"
)
COMPARISONS = {"=", "!=", "<", "<=", ">", ">="}
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
        self.known, self.joined = set(EVENTS[event]), set()
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
        self.joined = joined.names - self.known
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
        out, rest, before = [], list(tokens), None
        while rest:
            kind, value = rest.pop(0)
            self.check(kind, value, before, rest)
            if value == "(" and (default := self.default(rest)):
                out.append(default)
                del rest[:4]
            elif kind != "word" or value in WORDS:
                out.append(value)
            elif rest and rest[0][1] == "(":
                end = closing(rest)
                out.append(self.call(value, split(rest[1:end])))
                del rest[: end + 1]
            elif value in self.known:
                out.append(f'"{value}"')
            else:
                raise NrqlError(f"no such attribute: {value}")
            before = value
        return " ".join(out)

    def check(self, kind, value, before, rest):
        """Refuse what the reference does not show, though it might work."""
        if before in COMPARISONS and kind not in ("number", "text"):
            raise NrqlError("a comparison is with a value")
        if value == "OR" and before in self.known:
            raise NrqlError("the OR of an attribute is in parentheses, before a number")
        if value in self.joined and ("word", "NULL") in rest[1:3]:
            raise NrqlError("IS NULL is not documented for what a JOIN brings")
        if value == "NOT" and rest[:1] in ([("word", "TRUE")], [("word", "FALSE")]):
            raise NrqlError("IS NOT TRUE is not documented")

    def default(self, tokens):
        """`x OR 1` in parentheses is the number if x is NULL, and else x, a zero too."""
        match tokens[:4]:
            case [("word", name), ("word", "OR"), ("number", number), ("mark", ")")]:
                if name in self.known:
                    return f'coalesce("{name}", {number})'
        return None

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
        if name in ("max", "min", "sum", "average"):
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


def run(query, feedback=(), answers=(), metrics=()):
    db = sqlite3.connect(":memory:")
    db.row_factory = sqlite3.Row
    db.create_aggregate("latest", 2, Latest)
    db.create_function("concat_", -1, lambda *parts: "".join(p for p in parts if p is not None))
    for event, rows in zip(EVENTS, (feedback, answers, metrics), strict=True):
        columns = sorted(EVENTS[event])
        db.execute(f"CREATE TABLE {event} ({', '.join(map(json.dumps, columns))})")
        marks = ", ".join("?" * len(columns))
        values = [[row.get(column) for column in columns] for row in rows]
        db.executemany(f"INSERT INTO {event} VALUES ({marks})", values)
    return [dict(row) for row in db.execute(Nrql(lex(query)).sql)]
