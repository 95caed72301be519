"""One dispatch for every adapter: whom to ask, in which order, who failed, and the record that says why.

Framework-free, and without any I/O of calls: the adapter asks the candidates, in whichever way its framework has.

    dispatcher = Dispatcher(None, ["coder-7b", "chat-8b"], aliases={...}, fallbacks="next-best")
    attempts = dispatcher.plan(text, needs=["tools"], n_tokens=1200)    # computes; off the event loop in async code
    while True:
        try:
            answer = ask(attempts.name)
        except Exception as error:
            if attempts.move_on(error):
                continue
            if attempts.answer is None:                                 # nobody else, or not worth it
                raise
            break                                                       # of a cascade, which has an answer in hand
        if attempts.settles(answer, lambda: Reply(text_of(answer))):    # a cascade may want another one
            break
    attempts.answer, attempts.record                                    # plain JSON, the same keys everywhere

A stream goes through a `Holdback` as well, so that the next candidate can be asked until something was shown.
"""

from lookahead_router.dispatch.attempts import Attempts
from lookahead_router.dispatch.cascade import Cascade
from lookahead_router.dispatch.checks import (
    Agreement,
    Confidence,
    CutOff,
    OwnCheck,
    Refusal,
    Reliability,
    Reply,
    read_reply,
)
from lookahead_router.dispatch.cooldowns import RULES, Cooldowns, Rule
from lookahead_router.dispatch.dispatcher import Abilities, Dispatcher, decision_facts
from lookahead_router.dispatch.holdback import Holdback
from lookahead_router.dispatch.threads import RecentThreads

__all__ = [
    "RULES",
    "Abilities",
    "Agreement",
    "Attempts",
    "Cascade",
    "Confidence",
    "Cooldowns",
    "CutOff",
    "Dispatcher",
    "Holdback",
    "OwnCheck",
    "RecentThreads",
    "Refusal",
    "Reliability",
    "Reply",
    "Rule",
    "decision_facts",
    "read_reply",
]
