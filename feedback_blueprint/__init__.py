"""User feedback on LLM answers, recorded next to the New Relic trace that produced them."""

from .blueprint import FeedbackBlueprint
from .errors import ConfigurationError, FeedbackError, Refusal
from .stores import RedisStore, SQLiteStore

__all__ = [
    "ConfigurationError",
    "FeedbackBlueprint",
    "FeedbackError",
    "RedisStore",
    "Refusal",
    "SQLiteStore",
]
__version__ = "0.1.0"
