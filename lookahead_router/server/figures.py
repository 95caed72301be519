"""The figures of several processes, added up."""

import time
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from lookahead_router.threads import ProcessLock

STATE_SECONDS = 30.0
"""Time for which what a process said of its present state, such as requests at work, counts."""
LIFE_SECONDS = 600.0
"""Time after which a process that says nothing is over; what it counted stays."""


class Figures:
    """What each process said last, as the text that Prometheus reads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[str, tuple[int, float, bytes]] = {}
        """Last words by process: their number, when, and what."""
        self._over: set[str] = set()
        self._of_those_over = b""
        self._adding = ProcessLock()

    def tell(self, process: str, number: int, text: bytes) -> None:
        """Takes what a process says, unless it has said something later already."""
        if process not in self._over and number > self._told.get(process, (-1,))[0]:
            self._told[process] = number, self._clock(), text

    def text(self) -> bytes:
        """The sums, and how many processes there are. Computes."""
        with self._adding:
            told, now = dict(self._told), self._clock()
            for process, (_, at, text) in told.items():
                if now - at > LIFE_SECONDS:
                    self._of_those_over = _written(_sums((self._of_those_over, text), ()))
                    self._over.add(process)
                    del self._told[process]
            lately = [text for _, at, text in told.values() if now - at <= STATE_SECONDS]
            before = [text for _, at, text in told.values() if STATE_SECONDS < now - at <= LIFE_SECONDS]
            families = _sums((self._of_those_over, *before), lately)
            replicas = GaugeMetricFamily("lookahead_router_replicas", "Heard of lately.", value=len(lately))
            return _written([*families, replicas])


def _sums(before: Iterable[bytes], lately: Iterable[bytes]) -> list[Metric]:
    """The metrics of all texts, added up; states of those heard of lately alone."""
    families: dict[str, Metric] = {}
    totals: dict[str, dict[tuple, float]] = {}
    for is_present, texts in ((False, before), (True, lately)):
        for text in texts:
            for family in text_string_to_metric_families(text.decode()):
                is_birth = family.name.endswith("_created")
                if family.type == "gauge" and not is_birth and not is_present:
                    continue
                families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                sums = totals.setdefault(family.name, {})
                for sample in family.samples:
                    key = sample.name, tuple(sorted(sample.labels.items()))
                    both = (sums[key], sample.value) if key in sums else (sample.value,)
                    sums[key] = min(both) if is_birth else sum(both)
    for name, sums in totals.items():
        for (sample, labels), value in sums.items():
            families[name].add_sample(sample, dict(labels), value)
    return list(families.values())


class _Kept:
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def _written(families: list[Metric]) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Kept(families))
    return generate_latest(registry)
