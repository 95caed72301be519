"""The only room that talks to LLMs: asking the candidates of a pool, and judging what they answered."""

from lookahead_router.live.answers import Answer, Question, read_answers
from lookahead_router.live.client import Completion
from lookahead_router.live.collect import Collected, acollect, collect
from lookahead_router.live.expected import Expected, expected_calls
from lookahead_router.live.pool import CandidateConfig, PoolConfig
from lookahead_router.live.sample import Sample, sample

__all__ = [
    "Answer",
    "CandidateConfig",
    "Collected",
    "Completion",
    "Expected",
    "PoolConfig",
    "Question",
    "Sample",
    "acollect",
    "collect",
    "expected_calls",
    "read_answers",
    "sample",
]
