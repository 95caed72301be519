"""Figures of several processes: added up, never counted twice, and kept when a process is over."""

from types import SimpleNamespace

from servers.router_server import sum_of

from lookahead_router.server.figures import LIFE_SECONDS, STATE_SECONDS, Figures
from lookahead_router.server.metrics import Metrics

HOSTILE = 'a"\\\n}'


class Process:
    """A replica's own figures."""

    def __init__(self, name, figures):
        self.gate = SimpleNamespace(inside=0, waiting=0)
        self.metrics, self._name, self._figures, self._number = Metrics(self.gate), name, figures, 0

    def tell(self):
        self._number += 1
        self._figures.tell(self._name, self._number, self.metrics.text())


def world(*names):
    now = [0.0]
    figures = Figures(lambda: now[0])
    return now, figures, [Process(name, figures) for name in names]


def test_counts_times_and_states_of_all_are_added_up():
    _, figures, (one, other) = world("one", "other")
    one.metrics.choices.labels(HOSTILE, "routed").inc(2)
    other.metrics.choices.labels(HOSTILE, "routed").inc(3)
    other.metrics.choices.labels("b", "forced").inc()
    for process, seconds in ((one, 0.002), (other, 0.2)):
        process.metrics.routing_seconds.observe(seconds)
        process.gate.inside = 4
        process.tell()
        process.tell()  # the same again counts once
    alone = Metrics(SimpleNamespace(inside=8, waiting=0))
    alone.choices.labels(HOSTILE, "routed").inc(5)
    alone.choices.labels("b", "forced").inc()
    for seconds in (0.002, 0.2):
        alone.routing_seconds.observe(seconds)

    def lines(text):
        return sorted(each for each in text.decode().splitlines() if "_created" not in each)

    told = [each for each in lines(figures.text()) if "router_replicas" not in each]
    assert told == lines(alone.text())
    assert sum_of(figures.text().decode(), "replicas") == 2


def test_what_comes_late_changes_nothing():
    _, figures, (one,) = world("one")
    before = one.metrics.text()
    one.metrics.lost.inc()
    one.tell()
    figures.tell("one", 0, before)
    assert sum_of(figures.text().decode(), "decisions_lost_total") == 1


def test_a_process_that_is_over_leaves_what_it_counted_and_no_state():
    now, figures, (one, other) = world("one", "other")
    one.metrics.lost.inc(5)
    one.metrics.routing_seconds.observe(0.1)
    one.gate.inside = 3
    one.tell()
    for at in (1.0, STATE_SECONDS + 1, LIFE_SECONDS + 1, 2 * LIFE_SECONDS):
        now[0] = at
        other.metrics.lost.inc()
        other.tell()
        text = figures.text().decode()
        assert sum_of(text, "decisions_lost_total") == 5 + sum_of(other.metrics.text().decode(), "decisions_lost_total")
        assert sum_of(text, "routing_seconds_count") == 1
        assert sum_of(text, "requests_at_work") == (3 if at < STATE_SECONDS else 0)
        assert sum_of(text, "replicas") == (2 if at < STATE_SECONDS else 1)
    one.tell()  # it was not over after all: what it counted is there already
    assert sum_of(figures.text().decode(), "routing_seconds_count") == 1
    assert figures._told.keys() == {"other"}
