"""The dashboard's queries are right about revisions, however events arrive."""

import math
import random
import re

import pytest
from dashboard import DELIVERY, QUERIES
from nrql import MAX, run

from feedback_blueprint.attributes import MAX_COMMENT_BYTES, MAX_VALUE_BYTES

PREFIX, VALUE = "Custom/Feedback/", "newrelic.timeslice.value"


def event(feedback_id, revision, rating, **more):
    scores = {"bad": 0.0, "fair": 0.5, "good": 1.0}
    return {
        "timestamp": 1_000_000 + revision, "trace_id": f"t-{feedback_id}",
        "feedback_id": feedback_id, "message_id": f"m-{feedback_id}",
        "revision": revision, "rating": rating,
        "score": scores.get(rating), "retracted": rating == "retracted", **more,
    }  # fmt: skip


def campaign(seed):
    """Votes, changes, retractions and votes after them; repeats; out of order; a store's loss."""
    rng = random.Random(seed)
    events = []
    for rater in range(40):
        context = {"model": rng.choice("xyz"), "prompt_version": rng.choice(["v1", "v2"])}
        at = 1_000_000 + rng.choice([0, 0, 1, -5])
        for revision in rng.choice([[1], [1], [1, 2], [1, 2, 3], [1, 2, 3, 4, 2], [1, 2, 2, 3]]):
            at += rng.choice([1, 7])
            rating = rng.choice(["bad", "fair", "good"] + ["retracted"] * (revision > 1))
            comment = rng.choice([{}, {"message": ""}, {"message": "Hm, ", "message_2": "well"}])
            one = event(f"f{rater}", revision, rating, timestamp=at, **context, **comment)
            events += [one] * rng.choice([1, 1, 1, 2])
    rng.shuffle(events)
    return events


def standing(events):
    """The same in Python: the newest vote of each rater, unless it is a retraction."""
    votes = {}
    for vote in events:
        if vote["timestamp"] >= votes.get(vote["feedback_id"], vote)["timestamp"]:
            votes[vote["feedback_id"]] = vote
    return [vote for vote in votes.values() if not vote["retracted"]]


@pytest.mark.parametrize("seed", range(20))
def test_only_the_newest_vote_of_each_rater_stands(seed):
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
    events = list({(e["feedback_id"], e["timestamp"]): e for e in campaign(seed)}.values())
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
    smallest_part = MAX_VALUE_BYTES - 3  # a cut falls between characters of up to 4 bytes
    assert math.ceil(MAX_COMMENT_BYTES / smallest_part) == 17
    assert "message_17\n" in QUERIES["Comments of the worst-rated"]


def answers_of(*traces):
    return [
        {"trace_id": trace, "content": content, "is_response": response, "timestamp": 1}
        for trace in traces
        for content, response in ((f"question {trace}", None), (f"answer {trace}", True))
    ]


def test_answers_are_joined_to_the_standing_votes_of_their_trace():
    events = [
        event("a", 1, "good", trace_id="t1"),
        event("a", 2, "bad", trace_id="t1", message="Wrong year"),
        event("a", 2, "bad", trace_id="t1", message="Wrong year"),
        event("b", 1, "good", trace_id="t2"),
        event("c", 1, "good", trace_id="t3"),
        event("c", 2, "retracted", trace_id="t3"),
    ]
    rows = run(QUERIES["Answers behind the votes"], events, answers_of("t1", "t2", "t3", "t4"))
    assert [(row["content"], row["votes"], row["vote"], row["comment"]) for row in rows] == [
        ("answer t1", 1, "bad", "Wrong year"),
        ("answer t2", 1, "good", None),
    ]


def test_an_answer_with_many_votes_is_one_row_at_the_place_of_its_worst():
    """A key of a joined query that maps to over 100 rows may fail."""
    events = [event(f"f{n}", 1, "good", trace_id="t1", timestamp=1_000_000 + n) for n in range(150)]
    events[70] |= {"rating": "bad", "score": 0.0}
    events.append(event("g", 1, "fair", trace_id="t2"))
    rows = run(QUERIES["Answers behind the votes"], events, answers_of("t2", "t1"))
    assert [(row["content"], row["worst_score"], row["votes"], row["vote"]) for row in rows] == [
        ("answer t1", 0.0, 150, "good"),
        ("answer t2", 0.5, 1, "fair"),
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


def test_metrics_are_added_up_or_averaged_by_their_name():
    values = {
        "VotesAccepted": [1, 1, 1], "VotesDelivered": [1, 1], "VotesDeliveredAgain": [1],
        "VotesExpired": [1], "VotesRefused": [1], "VotesUnknown": [1, 1], "StashesMissed": [1],
        "Undelivered": [10, 20], "OldestUndelivered": [30, 60], "StoreSeconds": [0.1, 0.3],
    }  # fmt: skip
    metrics = [
        {"timestamp": 1, "appName": app, "metricTimesliceName": PREFIX + name, VALUE: value}
        for app in ("YOUR_APP_NAME", "another")
        for name, of in values.items()
        for value in of
    ]
    shown = {}
    for query in DELIVERY.values():
        [column] = re.findall(r" AS '(\w+)'", query)
        [*alone] = re.findall(r"metricTimesliceName = '(.*)'", query)
        for row in run(query, metrics=metrics):
            name = row.get("metricTimesliceName") or alone[0]
            shown[name.removeprefix(PREFIX)] = row[column]
    assert shown == {
        name: sum(of) if name.startswith(("Votes", "Stashes")) else pytest.approx(sum(of) / len(of))
        for name, of in values.items()
    }
