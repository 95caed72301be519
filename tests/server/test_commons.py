"""What replicas share: counted once, asked for together, and given back to a process that was started anew."""

import asyncio
import pickle
from contextlib import suppress
from types import SimpleNamespace

import pytest
from servers.router_server import CANDIDATES, CHEAP, write_pool

from lookahead_router.errors import ConfigurationError
from lookahead_router.server import shared
from lookahead_router.server.commons import Commons, Note
from lookahead_router.server.keys import RESERVED_SECONDS, Key, KeyFile, Rates, Spending, new_key
from lookahead_router.server.ray import Options
from lookahead_router.server.refusals import Refusal
from lookahead_router.server.service import Service
from lookahead_router.server.settings import Settings
from lookahead_router.server.shared import RemoteCommons, SharedCommons

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
    """Calls of an object's methods, as Serve's handles have them; `is_away` makes them fail, and `n_lost` answers are
    lost on their way."""

    def __init__(self, behind):
        self.behind, self.is_away, self.n_calls, self.n_lost = behind, False, 0, 0

    def __getattr__(self, name):
        async def remote(*arguments):
            self.n_calls += 1
            await asyncio.sleep(0.01)
            if self.is_away:
                raise RuntimeError("lost")
            result = await getattr(self.behind, name)(*pickle.loads(pickle.dumps(arguments)))
            if self.n_lost:
                self.n_lost -= 1
                raise RuntimeError("lost")
            return result

        return SimpleNamespace(remote=remote)


class Shared(SharedCommons):
    """Without a router."""

    def __init__(self, commons):
        self._service = SimpleNamespace(commons=commons, save=lambda: None)
        self._set_up()
        self._saving = object()


async def refuse(text, candidate, score):
    raise Refusal(409, "gone", code="candidate_left")


def remote_commons(learn=refuse):
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
    monkeypatch.setattr(shared, "NOTE_SECONDS", 0.05)
    monkeypatch.setattr(shared, "COMMONS_SECONDS", 0.5)

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


def test_a_call_whose_answer_is_lost_is_made_again_and_counts_once():
    learnt = []

    async def learn(text, candidate, score):
        await asyncio.sleep(0.02)
        learnt.append(score)

    async def run():
        handle = remote_commons(learn)
        commons, kept = RemoteCommons(handle), handle.behind._service.commons
        rare = POOR.model_copy(update={"requests_per_minute": 1, "budget_usd": 3.0})
        for call in (
            lambda: commons.check_rate(rare),
            lambda: commons.reserve("a", rare, 2.0),
            lambda: commons.settle("a", rare, 0.25),
            lambda: commons.note("dec_1", Note(CHEAP, TEXT)),
            lambda: commons.feedback("dec_1", "", 0.5),
        ):
            handle.n_lost = 2
            found = await call()
            assert handle.n_lost == 0
        assert (found, learnt) == (CHEAP, [0.5])
        assert kept._spending.spent(rare) == pytest.approx(0.25)
        assert handle.behind._version.n_changes == 1

    asyncio.run(run())


def test_a_call_that_fails_unforeseen_fails_alone_and_its_words_stay_there(caplog):
    async def learn(text, candidate, score):
        raise ZeroDivisionError(text)

    async def run():
        handle = remote_commons(learn)
        commons = RemoteCommons(handle)
        await commons.note("dec_1", Note(CHEAP, TEXT, "", ("c",)))
        before = handle.n_calls
        told, name = await asyncio.gather(commons.feedback("dec_1", "", 0.5), commons.whom("c"), return_exceptions=True)
        assert name == CHEAP
        assert "ZeroDivisionError in feedback" in str(told)
        assert handle.n_calls == before + 2

    asyncio.run(run())
    assert "ZeroDivisionError" in caplog.text
    assert TEXT not in caplog.text


def test_nobody_waits_for_another_ones_feedback_and_every_change_has_its_number():
    release = asyncio.Event()

    async def learn(text, candidate, score):
        await release.wait()

    async def run():
        handle = remote_commons(learn)
        commons = [RemoteCommons(handle) for _ in range(2)]
        for number, each in enumerate(commons):
            await each.note(f"dec_{number}", Note(CHEAP, TEXT, "", ("c",)))
        waiting = [asyncio.create_task(each.feedback(f"dec_{n}", "", 1.0)) for n, each in enumerate(commons)]
        await asyncio.sleep(0.05)
        assert [await asyncio.wait_for(each.whom("c"), 1) for each in commons] == [CHEAP, CHEAP]
        assert not any(task.done() for task in waiting)
        release.set()
        assert await asyncio.gather(*waiting) == [CHEAP, CHEAP]
        assert handle.behind._version.n_changes == 2

    asyncio.run(run())


def test_feedback_that_comes_before_its_answer_was_noted_waits_for_it(monkeypatch):
    monkeypatch.setattr(shared, "NOTE_SECONDS", 0.01)

    async def learn(text, candidate, score):
        pass

    async def run():
        handle = remote_commons(learn)
        commons = RemoteCommons(handle)
        handle.is_away = True
        await commons.note("dec_1", Note(CHEAP, TEXT))  # gives up waiting
        told = asyncio.create_task(commons.feedback("dec_1", "", 1.0))
        await asyncio.sleep(0.05)
        handle.is_away = False
        assert await told == CHEAP

    asyncio.run(run())


def test_who_answered_before_is_worth_a_short_wait_unless_nobody_else_can_answer(monkeypatch):
    monkeypatch.setattr(shared, "RECALL_SECONDS", 0.05)
    monkeypatch.setattr(shared, "COMMONS_SECONDS", 0.3)

    async def run():
        handle = remote_commons()
        handle.is_away = True
        commons = RemoteCommons(handle)
        assert await asyncio.wait_for(commons.whom("c"), 0.25) is None
        with pytest.raises(Refusal) as refused:
            await commons.whom("c", is_needed=True)
        assert refused.value.error["code"] == "commons_away"

    asyncio.run(run())


def test_a_process_started_anew_that_counts_as_far_is_not_taken_for_the_former_one():
    class Learner:
        """A service whose profiles are a word."""

        def __init__(self, word):
            self.serving = SimpleNamespace(profiles=lambda: {"word": self.word})
            self.word = word

        async def compute(self, function, *arguments):
            await asyncio.sleep(0.01)
            return function(*arguments)

        def adopt(self, profiles):
            self.word = profiles["word"]

        def save(self):
            """When it ends."""

    def keeper(word, n_changes):
        found = Shared(None)
        found._service = Learner(word)
        found._version = found._version._replace(n_changes=n_changes)
        return found

    async def run():
        handle = Handle(keeper("before", 1))
        replica, commons = Learner(""), RemoteCommons(handle)
        await commons.catch_up(replica)
        handle.behind = keeper("other", 1)  # and has learnt something else since
        follows = asyncio.create_task(commons._learn_now_and_then(replica))
        async with asyncio.timeout(5):
            while replica.word != "other":
                await asyncio.sleep(0.01)
        follows.cancel()
        with suppress(asyncio.CancelledError):
            await follows
        handle.behind = keeper("nothing", 0)  # which many give the same back to
        await asyncio.gather(*(handle.restore.remote(commons._version, {"word": "other"}) for _ in range(3)))
        assert (handle.behind._service.word, handle.behind._version.n_changes) == ("other", 1)

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
