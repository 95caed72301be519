"""One dispatch for every adapter: whom to ask, in which order, who failed, and the record that says why.

Framework-free, and without any I/O of calls: the adapter asks the candidates, in whichever way its framework has.

    dispatcher = Dispatcher(None, ["coder-7b", "chat-8b"], aliases={...}, fallbacks="next-best")
    attempts = dispatcher.plan(text, needs=["tools"], n_tokens=1200)    # computes; off the event loop in async code
    while True:
        try:
            answer = ask(attempts.name)
            break
        except Exception as error:
            if not attempts.move_on(error):                             # nobody else, or not worth it
                raise
    attempts.answered()
    attempts.record                                                     # plain JSON, the same keys everywhere

A stream goes through a `Holdback` as well, so that the next candidate can be asked until something was shown.
"""

from lookahead_router.dispatch.cooldowns import RULES, Cooldowns, Rule
from lookahead_router.dispatch.dispatcher import Abilities, Attempts, Dispatcher, decision_facts
from lookahead_router.dispatch.holdback import Holdback
from lookahead_router.dispatch.threads import RecentThreads

__all__ = [
    "RULES",
    "Abilities",
    "Attempts",
    "Cooldowns",
    "Dispatcher",
    "Holdback",
    "RecentThreads",
    "Rule",
    "decision_facts",
]
