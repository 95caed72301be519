"""The only room that talks to LLMs: asking the candidates of a pool, and judging what they answered."""

from lookahead_router.live.answers import Answer, Question, read_answers
from lookahead_router.live.collect import Collected, acollect, collect
from lookahead_router.live.completion import Completion
from lookahead_router.live.expected import Expected, expected_calls, expected_verdicts
from lookahead_router.live.judge import Judged, ajudge, judge
from lookahead_router.live.judges import JudgeConfig
from lookahead_router.live.pool import CandidateConfig, PoolConfig
from lookahead_router.live.sample import Sample, sample

__all__ = [
    "Answer",
    "CandidateConfig",
    "Collected",
    "Completion",
    "Expected",
    "JudgeConfig",
    "Judged",
    "PoolConfig",
    "Question",
    "Sample",
    "acollect",
    "ajudge",
    "collect",
    "expected_calls",
    "expected_verdicts",
    "judge",
    "read_answers",
    "sample",
]
