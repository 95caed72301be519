"""How much personal data an audit finds on its way to candidates that are not local."""

import pytest

from lookahead_router import Candidate, CandidatePool, Prediction, Privacy, Router
from lookahead_router.evaluation.audit_private import SHAPELESS, find_leaks, has_guard, leaks_of, planted
from lookahead_router.privacy import KINDS, find_private

POOL = CandidatePool([Candidate(name="far", usd_per_call=1.0), Candidate(name="near", usd_per_call=1.0, local=True)])


class Far:
    """Prefers the one that is not local, whatever is asked."""

    name, revision, pool = "far", "0", POOL

    def predict(self, prompts):
        return Prediction(self.pool, [[0.9, 0.1]] * len(prompts))


def leaks(privacy, **options):
    return find_leaks(Router(Far(), privacy=privacy), n_resamples=50, **options)


def by_kind(data):
    return {each.kind: each for each in data.kinds}


def test_the_suite_has_every_kind_in_six_languages_and_the_same_values_for_a_seed():
    suite = planted(seed=3)
    assert {each.language for each in suite} == {"en", "de", "fr", "es", "ja", "zh"}
    assert {each.kind for each in suite} == {*KINDS, *SHAPELESS, ""}
    assert not [each for each in suite if "{}" in each.prompt]
    assert suite == planted(seed=3) != planted(seed=4)


def test_without_privacy_everything_goes_where_it_is_foreseen_best():
    data = leaks(None)
    assert all(each.leaks.value == each.unguarded.value == 1 for each in data.kinds)
    assert (data.alarms, data.alarmed, data.local) == ({}, None, ("near",))


def test_what_is_found_stays_local_or_is_refused_and_what_is_not_leaks():
    rules = by_kind(leaks(Privacy()))
    for kind, each in rules.items():
        assert each.leaks.value == pytest.approx(1 - each.found["rules"]), kind
    assert rules["IBAN"].leaks.value == 0
    assert rules["name"].leaks.value == 1
    refused = by_kind(leaks(Privacy(refuse=True)))["IBAN"]
    assert (refused.leaks.value, refused.refused.value) == (0, 1)


def test_each_detector_is_counted_for_itself():
    def shouting(text):
        return ["anything"]

    def failing(text):
        raise RuntimeError(text)

    data = leaks(Privacy(kinds=(), detectors=(shouting,)))
    assert data.alarms["shouting"].value == data.alarmed.value == 1
    assert by_kind(data)["name"].leaks.value == 0
    both = leaks(Privacy(detectors=(failing,)))
    assert both.alarms["rules"].value < 0.05
    assert both.alarms["failing"].value == 1  # whatever cannot be looked at counts as found


def test_rules_find_nearly_all_that_has_a_shape_and_nothing_in_clean_prompts():
    suite = [each for seed in range(5) for each in planted(seed=seed)]
    missed = [each for each in suite if each.kind in KINDS and not find_private(each.prompt)]
    assert len(missed) <= 0.05 * len([each for each in suite if each.kind in KINDS])
    assert [each.prompt for each in suite if not each.kind and find_private(each.prompt)] == []


def test_figures_of_gates():
    data = leaks(Privacy())
    assert leaks_of(data, ("",)) == by_kind(data)[""].leaks
    assert leaks_of(data, SHAPELESS) == (1, 1, 1)
    assert leaks_of(None, ("",)) is None
    assert has_guard(Router(Far()))
    assert not has_guard(Router(Far(), privacy=None).with_aliases({"near": Candidate(name="other", local=False)}))
