"""The reader of NRQL refuses what is wrong: its own tests."""

import pytest
from nrql import Nrql, NrqlError, lex, run

LAST = (
    "FROM LlmFeedbackMessage LEFT JOIN (FROM LlmFeedbackMessage SELECT max(revision) AS last"
    " WHERE revision > 1 FACET feedback_id LIMIT MAX) ON feedback_id"
)


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("SELECT stars FROM LlmFeedbackMessage", "out of order"),
        ("FROM LlmFeedbackMessage SELECT stars", "attribute: stars"),
        ("FROM LlmFeedback SELECT rating", "event: LlmFeedback"),
        ("FROM LlmFeedbackMessage SELECT stddev(score)", "function: stddev"),
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
        (f"{LAST} SELECT rating WHERE revision = last", "with a value"),
        (f"{LAST} SELECT rating WHERE last IS NULL", "what a JOIN brings"),
        (f"{LAST} SELECT rating WHERE last IS NOT NULL", "what a JOIN brings"),
        (f"{LAST} SELECT rating WHERE revision - last OR 1 >= 0", "in parentheses"),
        (f"{LAST} SELECT rating WHERE revision - (last OR revision) >= 0", "before a number"),
    ],
)
def test_the_reader_refuses_what_is_wrong(query, complaint):
    with pytest.raises(NrqlError, match=complaint):
        Nrql(lex(query))


@pytest.mark.parametrize(("score", "shown"), [(None, 7), (0, 0), (3, 3)])
def test_a_number_stands_in_for_what_is_missing_alone(score, shown):
    """As New Relic's page on math says: `(zero) OR 1` is 0, `(NULL) OR 1` is 1."""
    query = "FROM LlmFeedbackMessage SELECT rating WHERE (score OR 7) - {} = 0"
    assert run(query.format(shown), [{"score": score}])
    assert not run(query.format(shown + 1), [{"score": score}])
