"""A dispatcher over an ideal predictor, and a request as an adapter makes it."""

import re

from lookahead_router import (
    CandidatePool,
    Dispatcher,
    Prediction,
    Router,
)

NAMES = ("digits", "words", "lazy")


class RulePredictor:
    """`digits` is best where the prompt holds a digit, `words` elsewhere; `lazy` is always second."""

    name = "rules"
    revision = "1"

    def __init__(self, pool=NAMES):
        self.pool = CandidatePool(pool)
        self.error = None

    def predict(self, prompts):
        if self.error is not None:
            raise self.error
        rows = [[0.9, 0.2, 0.5] if re.search(r"\d", prompt) else [0.2, 0.9, 0.5] for prompt in prompts]
        return Prediction(self.pool, rows)


class HTTPError(Exception):
    """As most clients raise it."""

    def __init__(self, status_code, headers=None):
        super().__init__(f"status {status_code} about tulips")
        self.status_code = status_code
        self.headers = headers or {}


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def make(fallbacks="next-best", pool=NAMES, **options):
    return Dispatcher(Router(RulePredictor(pool)), fallbacks=fallbacks, **options)


def call(dispatcher, failures=(), text="7", **wishes):
    """Asks as an adapter does; the record, or what was raised."""
    failures = dict(failures)
    attempts = dispatcher.plan(text, **wishes)
    while attempts.name in failures:
        error = failures[attempts.name]
        if not attempts.move_on(error):
            raise error
    attempts.answered()
    return attempts.record


def asked(record):
    return [each["candidate"] for each in record["attempts"]]
