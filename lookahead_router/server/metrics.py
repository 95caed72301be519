"""Figures for Prometheus, with names of candidates and keys, and nothing of prompts."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from lookahead_router.server.gate import Gate

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_P = "lookahead_router_"


class Metrics:
    """The server's figures, in a registry of their own."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, gate: Gate) -> None:
        self.registry = CollectorRegistry()
        kept = {"registry": self.registry}
        seconds = {"buckets": _SECONDS, **kept}
        self.requests = Counter(f"{_P}requests", "Requests, by endpoint and status.", ("endpoint", "status"), **kept)
        self.seconds = Histogram(f"{_P}request_seconds", "Until a request is over.", ("endpoint",), **seconds)
        self.first_seconds = Histogram(f"{_P}first_byte_seconds", "Until an answer begins.", ("endpoint",), **seconds)
        self.routing_seconds = Histogram(f"{_P}routing_seconds", "Of reading and deciding.", **seconds)
        self.choices = Counter(f"{_P}choices", "Who answered, and why.", ("candidate", "reason"), **kept)
        self.failures = Counter(f"{_P}failures", "Calls that failed.", ("candidate", "failure"), **kept)
        self.call_seconds = Histogram(f"{_P}call_seconds", "Of calls that answered.", ("candidate",), **seconds)
        self.tokens = Counter(f"{_P}tokens", "Tokens of calls.", ("candidate", "kind"), **kept)
        self.usd = Counter(f"{_P}cost_usd", "Dollars of calls.", ("candidate",), **kept)
        self.feedback = Counter(f"{_P}feedback", "Scores that were learnt from.", ("candidate",), **kept)
        self.reloads = Counter(f"{_P}reloads", "Readings of the pool file.", ("result",), **kept)
        self.lost = Counter(f"{_P}decisions_lost", "Decisions that the log could not take.", **kept)
        self.is_draining = Gauge(f"{_P}draining", "1 while the server ends.", **kept)
        Gauge(f"{_P}requests_at_work", "Now.", **kept).set_function(lambda: gate.inside)
        Gauge(f"{_P}requests_waiting", "Now.", **kept).set_function(lambda: gate.waiting)

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self.registry)
