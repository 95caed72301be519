"""What replicas share: counted once, asked for together, and given back to a process that was started anew."""

import asyncio
import pickle
from contextlib import suppress
from types import SimpleNamespace

import pytest
from servers.router_server import CANDIDATES, CHEAP, write_pool

from lookahead_router.errors import ConfigurationError
from lookahead_router.server import ray as on_ray
from lookahead_router.server.commons import Commons, Note
from lookahead_router.server.keys import RESERVED_SECONDS, Key, KeyFile, Rates, Spending, new_key
from lookahead_router.server.ray import Options, RemoteCommons, SharedCommons
from lookahead_router.server.refusals import Refusal
from lookahead_router.server.service import Service
from lookahead_router.server.settings import Settings

POOR = Key(name="poor", sha256="0" * 64, budget_usd=1.0, requests_per_minute=60)
TEXT = "Which wine goes with fish?"


def test_a_reservation_counts_until_it_is_settled_and_not_for_ever():
    now = [0.0]
    spending = Spending(None, clock=lambda: now[0])
    spending.reserve("a", POOR, 0.7)
    with pytest.raises(Refusal, match="used up"):
        spending.reserve("b", POOR, 0.4)
    spending.settle("a", POOR, 0.1)
    spending.settle("a", POOR, 0.0)
    assert spending.spent(POOR) == pytest.approx(0.1)
    spending.reserve("lost", POOR, 0.8)
    now[0] = RESERVED_SECONDS + 1
    assert spending.spent(POOR) == pytest.approx(0.1)
    spending.reserve("c", POOR, 0.8)


def test_a_rate_allows_so_many_at_once_and_then_one_at_a_time():
    rates = Rates()
    slow = POOR.model_copy(update={"requests_per_minute": 2})
    for at in (0.0, 0.0, 30.0, 60.0):
        rates.check(slow, at)
    with pytest.raises(Refusal) as refused:
        rates.check(slow, 75.0)
    assert refused.value.retry_after == pytest.approx(15)


def test_a_refusal_is_the_same_in_another_process():
    refusal = Refusal(429, "no", kind="rate_limit_error", code="x", param="y", retry_after=3.0)
    again = pickle.loads(pickle.dumps(refusal))
    assert (vars(again), str(again)) == (vars(refusal), "no")


class Handle:
    """Calls of an object's methods, as Serve's handles have them; `is_away` makes them fail."""

    def __init__(self, behind):
        self.behind, self.is_away, self.n_calls = behind, False, 0

    def __getattr__(self, name):
        async def remote(*arguments):
            self.n_calls += 1
            await asyncio.sleep(0.01)
            if self.is_away:
                raise RuntimeError("lost")
            return await getattr(self.behind, name)(*pickle.loads(pickle.dumps(arguments)))

        return SimpleNamespace(remote=remote)


class Shared(SharedCommons):
    """Without a router."""

    def __init__(self, commons):
        self._service = SimpleNamespace(commons=commons, save=lambda: None)
        self._version, self._changed = 0, asyncio.Condition()
        self._saving = object()


def remote_commons():
    async def learn(text, candidate, score):
        raise Refusal(409, "gone", code="candidate_left")

    return Handle(Shared(Commons(Settings(), learn)))


def test_what_many_requests_ask_goes_in_few_calls_and_each_gets_its_own_answer():
    async def run():
        handle = remote_commons()
        commons = RemoteCommons(handle)
        await asyncio.gather(*(commons.note(f"dec_{k}", Note(f"m{k}", TEXT, "", (f"c{k}",))) for k in range(50)))
        found = await asyncio.gather(*(commons.whom(f"c{k}") for k in range(50)))
        assert found == [f"m{k}" for k in range(50)]
        assert handle.n_calls <= 6
        results = await asyncio.gather(
            commons.reserve("a", POOR, 0.8), commons.reserve("b", POOR, 0.8), commons.whom("c1"), return_exceptions=True
        )
        assert results[0] is None
        assert results[1].error["code"] == "insufficient_quota"
        assert results[2] == "m1"
        for whose, status in (("other", 404), ("", 409)):
            with pytest.raises(Refusal) as refused:
                await commons.feedback("dec_1", whose, 1.0)
            assert refused.value.status == status

    asyncio.run(run())


def test_where_the_commons_are_away_answers_go_on_and_limits_are_not_passed_over(monkeypatch):
    monkeypatch.setattr(on_ray, "NOTE_SECONDS", 0.05)
    monkeypatch.setattr(on_ray, "COMMONS_SECONDS", 0.5)

    async def run():
        handle = remote_commons()
        commons = RemoteCommons(handle)
        handle.is_away = True
        await asyncio.wait_for(commons.note("dec_1", Note(CHEAP, TEXT, "", ("c",))), 0.3)
        with pytest.raises(Refusal) as refused:
            await commons.reserve("a", POOR, 0.1)
        assert refused.value.status == 503
        waiting = asyncio.create_task(commons.whom("c"))
        await commons.note("dec_2", Note(CHEAP, TEXT, "", ("c",)))
        handle.is_away = False
        assert await waiting in (None, CHEAP)
        assert await commons.whom("c") == CHEAP  # it was told, a little later

    asyncio.run(run())


def test_what_was_learnt_reaches_every_replica_and_comes_back_from_them(tmp_path):
    pool = write_pool(tmp_path, dict.fromkeys(CANDIDATES, "http://127.0.0.1:9/v1"))

    async def until(condition):
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.01)

    async def run():
        options = Options(pool=pool, learnt=tmp_path / "learnt")
        handle = Handle(SharedCommons(options))
        both = []
        for _ in range(2):
            commons = RemoteCommons(handle)
            service = Service(pool, options.settings, commons=commons)
            await commons.catch_up(service)
            both.append((service, asyncio.create_task(service.run_in_background())))
        first, second = (service for service, _ in both)
        before = first.serving.router.route(TEXT).probabilities
        await first.commons.note("dec_1", Note(CHEAP, TEXT))
        assert await second.commons.feedback("dec_1", "", 0.0) == CHEAP
        shared = handle.behind._service.serving.router.route(TEXT).probabilities
        assert shared[CHEAP] < before[CHEAP]
        await until(lambda: all(each.serving.router.route(TEXT).probabilities == shared for each in (first, second)))
        first.save()
        assert not (tmp_path / "learnt").exists()  # whoever keeps it writes it
        handle.behind = SharedCommons(options)  # started anew, and not saved before
        handle.is_away = True
        await asyncio.sleep(0.1)
        handle.is_away = False
        again = handle.behind._service.serving
        await until(lambda: again.router.route(TEXT).probabilities == shared)
        handle.behind._service.save()
        assert (tmp_path / "learnt" / "profiles.npz").exists()
        for _, task in both:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    asyncio.run(run())


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"min_replicas": 3, "max_replicas": 2}, "at most 2 replicas"),
        ({"host": "0.0.0.0"}, "Serve's"),
        ({"pools": "x"}, "pools"),
        ({"cores": 0}, "cores"),
    ],
)
def test_an_option_that_cannot_be_is_told_before_anything_starts(options, match):
    with pytest.raises(ConfigurationError, match=match):
        Options(**{"pool": "pool.json", **options})


def test_options_come_as_text_and_reach_each_replica(tmp_path):
    new_key(tmp_path / "keys.json", "alice")
    options = Options(pool="pool.json", keys=str(tmp_path / "keys.json"), max_concurrency="7", max_replicas="2")
    assert KeyFile.load(options.settings.keys).keys
    assert (options.settings.max_concurrency, options.max_replicas) == (7, 2)
