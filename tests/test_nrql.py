"""The reader of NRQL refuses what is wrong: its own tests."""

import pytest
from nrql import Nrql, NrqlError, lex


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
