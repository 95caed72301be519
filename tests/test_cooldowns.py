"""Whoever keeps failing is asked last for a while."""

import random
import threading

import pytest
from dispatching import NAMES, Clock, HTTPError, asked, call, make

from lookahead_router import (
    Cooldowns,
)
from lookahead_router.dispatch import RULES
from lookahead_router.errors import (
    Failure,
)


def cooled(clock, **options):
    return make(cooldowns=Cooldowns(clock=clock), **options)


def test_who_timed_out_is_asked_last_until_the_cooldown_is_over():
    clock = Clock()
    dispatcher = cooled(clock)
    assert asked(call(dispatcher, {"digits": TimeoutError()})) == ["digits", "lazy"]
    record = call(dispatcher)
    assert asked(record) == ["lazy"]
    assert record["reason"] == "routed"
    assert record["ranking"][0] == "digits"
    assert record["cooling"] == {"digits": "timeout"}
    clock.now += 30.0
    assert asked(call(dispatcher)) == ["digits"]


def test_who_is_in_a_cooldown_is_asked_last_rather_than_never():
    clock = Clock()
    dispatcher = cooled(clock)
    for name, error in {"digits": HTTPError(401), "lazy": HTTPError(429), "words": TimeoutError()}.items():
        dispatcher.plan("7", keep=name).move_on(error)
    assert asked(call(dispatcher, {"lazy": HTTPError(429), "words": TimeoutError()})) == ["lazy", "words", "digits"]
    assert asked(call(dispatcher)) == ["digits"]  # its answer ended the cooldown


def test_without_fallbacks_nobody_takes_the_place_of_the_one_in_a_cooldown():
    dispatcher = cooled(Clock(), fallbacks=None)
    dispatcher.plan("7").move_on(HTTPError(401))
    assert asked(call(dispatcher)) == ["digits"]


@pytest.mark.parametrize(("status", "failures"), [(500, 2), (429, 1)])
def test_one_server_error_is_forgiven_and_one_rate_limit_is_not(status, failures):
    dispatcher = cooled(Clock())
    for _ in range(failures):
        assert asked(call(dispatcher, {"digits": HTTPError(status)})) == ["digits", "lazy"]
    assert asked(call(dispatcher)) == ["lazy"]


def test_an_answer_ends_the_count():
    dispatcher = cooled(Clock())
    for _ in range(5):
        call(dispatcher, {"digits": HTTPError(500)})
        assert asked(call(dispatcher)) == ["digits"]


@pytest.mark.parametrize(("header", "seconds"), [("120", 120.0), ("0", 10.0), ("1e9", 3600.0), ("soon", 10.0)])
def test_retry_after_is_honoured(header, seconds):
    clock = Clock()
    dispatcher = cooled(clock)
    call(dispatcher, {"digits": HTTPError(429, {"Retry-After": header})})
    assert dispatcher.cooldowns.seconds_left("digits") == seconds


@pytest.mark.parametrize("seed", range(20))
def test_a_cooldown_grows_while_failures_go_on_and_stays_within_its_bound(seed):
    """Against a model: the length after the k-th failure in a row is base * 2**(k - threshold), up to the bound."""
    draw, clock = random.Random(seed), Clock()
    cooldowns = Cooldowns(max_seconds=200.0, clock=clock)
    in_a_row, until = dict.fromkeys(NAMES, 0), dict.fromkeys(NAMES, 0.0)
    for _ in range(300):
        name, event = draw.choice(NAMES), draw.random()
        if event < 0.15:
            cooldowns.answered(name)
            in_a_row[name], until[name] = 0, 0.0
        elif event < 0.6:
            failure = draw.choice(list(Failure))
            rule = RULES[failure]
            cooldowns.failed(name, failure)
            if rule.cooldown_seconds and until[name] <= clock.now:
                in_a_row[name] += 1
                if in_a_row[name] >= rule.failures:
                    growth = 2 ** (in_a_row[name] - rule.failures)
                    until[name] = clock.now + min(rule.cooldown_seconds * growth, 200.0)
        else:
            clock.now += draw.choice([0.0, 1.0, 17.0, 100.0])
        for each in NAMES:
            left = cooldowns.seconds_left(each)
            assert left == max(0.0, until[each] - clock.now)
            assert left <= 200.0
            assert (cooldowns.why(each) is None) == (left == 0)


def test_calls_that_were_under_way_do_not_lengthen_a_cooldown():
    cooldowns = Cooldowns(clock=Clock())
    for _ in range(64):
        cooldowns.failed("digits", Failure.TIMEOUT)
    assert cooldowns.seconds_left("digits") == 30.0


def test_threads_share_cooldowns_without_losing_any():
    cooldowns = Cooldowns(clock=Clock())
    names = [f"c{i}" for i in range(200)]

    def fail():
        for name in names:
            cooldowns.failed(name, Failure.SERVER_ERROR)

    workers = [threading.Thread(target=fail) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(cooldowns.seconds_left(name) == 10.0 for name in names)
