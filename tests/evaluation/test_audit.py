"""Toy routers whose faults are known: the audit finds these, and no others."""

import json
import random

import numpy as np
import pytest

from lookahead_router import Candidate, CandidatePool, Prediction, Router
from lookahead_router.errors import ConfigurationError, DataError, SchemaError
from lookahead_router.evaluation.audit import FIGURES, KINDS, SURFACE, Gate, audit
from lookahead_router.evaluation.audit_changes import CHANGES, changed
from lookahead_router.evaluation.audit_report import sections, write_audit
from lookahead_router.evaluation.audit_suite import MAX_CHARACTERS, SUITE, Question, read_suite
from lookahead_router.training import augmentation, clothes

POOL = CandidatePool(
    Candidate(name=name, usd_per_call=usd) for name, usd in (("small", 0.001), ("middle", 0.01), ("dear", 0.1))
)


class Toy:
    """Chooses by a rule on the text."""

    name, revision = "toy", "0"

    def __init__(self, rule, pool=POOL, gap=0.5):
        self.rule, self.pool, self.gap = rule, pool, gap

    def predict(self, prompts):
        texts = [getattr(prompt, "text", prompt) for prompt in prompts]
        scores = np.full((len(texts), len(self.pool)), 0.25)
        scores[np.arange(len(texts)), [self.rule(text) % len(self.pool) for text in texts]] += self.gap
        return Prediction(self.pool, scores, scores)


def found(rule, questions=None, **options):
    return audit(Router(Toy(rule, **options)), questions or SHORT, n_resamples=50)


SHORT = read_suite()[::3]
"""A third of the suite, of every category and difficulty."""
WORDS = {text.lower(): question for question in read_suite() for text in question.prompts.values()}


def test_always_the_same_candidate_has_no_fault_but_collapse():
    report = found(lambda text: 1)
    for kind in (*KINDS, "flips", "upgrades", "jailbreak-shift", "entropy"):
        assert report.figures[kind] == (0, 0, 0), kind
    assert report.figures["collapse"].value == 1
    assert report.figures["category-index"] is report.figures["difficulty-index"] is None
    assert report.shares == {"small": 0, "middle": 1, "dear": 0}
    assert (report.quality, report.usd) == (0.75, pytest.approx(0.01))


def test_choices_at_random_flip_as_often_as_chance_has_it():
    report = found(lambda text: random.Random(text).randrange(3), read_suite())
    assert report.figures["flips"].value == pytest.approx(2 / 3, abs=0.05)
    assert report.figures["collapse"].value == pytest.approx(1 / 3, abs=0.1)
    assert abs(report.figures["category-index"].value) < 0.05


def test_a_change_between_equals_is_no_flip():
    report = found(lambda text: random.Random(text).randrange(3), gap=0.01)
    typos = next(each for each in report.changes if each.kind == "typos")
    assert typos.flips.value == 0
    assert typos.differ.value > 0.3


def test_padding_that_moves_prompts_to_a_dearer_candidate_is_found_and_nothing_else():
    report = found(lambda text: 2 if "jurisprudence" in text else 0)
    by_form = {each.form: each.upgrades.value for each in report.changes if each.kind == "padding"}
    assert by_form == {"": 0.2, "fillers": 0, "effort": 0, "learned": 1, "story": 0, "dots": 0}
    assert next(each for each in report.changes if each.form == "learned").dollars.value == pytest.approx(100)
    assert report.figures["flips"].value == 0


def test_prompts_that_go_to_a_cheaper_candidate_are_no_upgrades():
    report = found(lambda text: 0 if "kettle" in text else 2)
    assert report.figures["upgrades"].value == 0
    assert report.figures["padding"].value == 0.2


def test_a_candidate_of_nearly_the_same_price_is_neither_an_upgrade_nor_a_downgrade():
    alike = CandidatePool(Candidate(name=name, usd_per_call=usd) for name, usd in (("a", 1.0), ("b", 1.09), ("c", 1.2)))
    report = found(lambda text: 1 if "kettle" in text else 2 if "jurisprudence" in text else 0, pool=alike)
    by_form = {each.form: each.upgrades.value for each in report.changes if each.kind == "padding"}
    assert (by_form["story"], by_form["learned"]) == (0, 1)
    assert report.figures["bill"].value == pytest.approx(1 + (0.09 + 0.2) / 5)
    back = found(lambda text: 1 if "kettle" in text else 0 if "jurisprudence" in text else 2, pool=alike)
    by_form = {each.form: each.downgrades.value for each in back.changes if each.kind == "padding"}
    assert (by_form["story"], by_form["learned"]) == (1, 1)
    assert back.figures["upgrades"].value == 0


def test_what_flips_cost_in_quality_and_dollars_is_told():
    report = found(lambda text: 0 if "kettle" in text else 2)
    whole, story = (next(each for each in report.changes if each.form == form) for form in ("", "story"))
    padding = next(each for each in report.changes if each.kind == "padding" and not each.form)
    assert whole.flip is None  # typos change nothing
    assert story.lost.value == pytest.approx(0.5)
    assert padding.lost.value == pytest.approx(0.1)
    assert (story.flip.lost, story.flip.kept, story.flip.dollars) == pytest.approx((0.5, 0.25 / 0.75, 0.01))
    told = next(each for each in sections(report) if each.title == "What a flip costs")
    assert told.rows == (("padding", "50.0", "33.3", "0.01"),)


def test_jailbreaks_that_go_to_weaker_candidates_shift_below_nothing():
    report = found(lambda text: 0 if "Zorro-9" in text else 2)
    assert report.figures["jailbreak-shift"].value == pytest.approx(-0.5 / 6)


def test_languages_are_compared_with_the_first_of_each_question():
    questions = [Question({"en": f"One {k}?", "de": f"Zwei {k}?", "fr": f"Trois {k} ?"}) for k in range(6)]
    report = found(lambda text: "Trois" in text, questions)
    assert {each.form: each.flips.value for each in report.changes if each.kind == "languages"} == {
        "": 0.5, "de": 0, "fr": 1,
    }  # fmt: skip


@pytest.mark.parametrize(("rule", "by_category", "by_difficulty"), [
    (lambda question: question.category in ("code", "facts", "writing"), 1, 0),
    (lambda question: question.difficulty == "hard", 0, 1),
])  # fmt: skip
def test_the_indices_tell_what_choices_follow(rule, by_category, by_difficulty):
    report = found(lambda text: rule(WORDS[text.lower()]) if text.lower() in WORDS else 0, read_suite())
    assert report.figures["category-index"].value == pytest.approx(by_category, abs=0.2)
    assert report.figures["difficulty-index"].value == pytest.approx(by_difficulty, abs=0.2)
    hard = [each for each in report.grid if each.difficulty == "hard"]
    assert len(hard) == 6
    assert all(len(each.shares) == 1 and each.n == 18 for each in report.grid)


def test_the_same_seed_gives_the_same_report():
    one, other = (found(lambda text: random.Random(text).randrange(3)) for _ in range(2))
    assert one.to_dict() == other.to_dict()
    json.dumps(one.to_dict(), allow_nan=False)


def test_without_prices_upgrades_are_not_measured_and_no_gate_on_them_passes():
    report = found(lambda text: 0, pool=CandidatePool(["a", "b"]))
    assert report.figures["upgrades"] is None
    with pytest.raises(ConfigurationError, match="upgrades could not be measured: it takes prices"):
        Gate.parse("upgrades>0.05").is_met_by(report)


def test_gates_hold_a_figure_to_a_limit():
    report = found(lambda text: 1)
    assert Gate.parse("flips>0.05").is_met_by(report)
    assert not Gate.parse(" collapse > .9").is_met_by(report)
    assert not Gate.parse("entropy<0.2").is_met_by(report)
    assert str(Gate.parse("jailbreak-shift<-0.5")) == "jailbreak-shift<-0.5"


@pytest.mark.parametrize("text", ["flip>0.1", "flips", "flips>", "flips>=0.1", "flips>x", "", "flips>1e999", "\x1b>1"])
def test_a_gate_that_reads_otherwise_is_refused(text):
    with pytest.raises(ConfigurationError, match="FIGURE>LIMIT"):
        Gate.parse(text)


def test_one_candidate_or_too_few_prompts_are_refused():
    with pytest.raises(ConfigurationError, match="one candidate alone"):
        found(lambda text: 0, pool=CandidatePool(["a"]))
    with pytest.raises(DataError, match="at least 5 prompts, got 1"):
        found(lambda text: 0, [Question({"plain": "one"})])


LONG = "x" * (MAX_CHARACTERS + 1)


@pytest.mark.parametrize(("name", "content", "words"), [
    ("a.jsonl", "", "at least 5 prompts, got 0"),
    ("a.txt", "secret\n", "at least 5 prompts, got 1"),
    ("a.jsonl", '{"prompt": "secret"', "row 0: not JSON"),
    ("a.jsonl", '["secret"]', "an object with prompt"),
    ("a.jsonl", '{"prompt": "secret", "prompts": {}}', "an object with prompt"),
    ("a.jsonl", '{"prompt": " "}', "not empty"),
    ("a.jsonl", '{"prompt": {"secret": 1}}', "not empty"),
    ("a.jsonl", '{"prompts": "secret"}', "prompts by language"),
    ("a.jsonl", '{"prompts": {}}', "prompts by language"),
    ("a.jsonl", '{"prompt": "secret", "category": 5}', "expected text, got int"),
    ("a.txt", LONG, "at most 100,000 characters, got 100,001"),
])  # fmt: skip
def test_a_suite_that_cannot_be_used_is_refused_without_its_words(tmp_path, name, content, words):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=words) as refused:
        read_suite(tmp_path / name)
    assert "secret" not in str(refused.value)


def test_a_suite_that_is_not_there_or_no_text_is_refused(tmp_path):
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\xff")
    for name in ("a.txt", "b.txt"):
        with pytest.raises(SchemaError, match="no such file"):
            read_suite(tmp_path / name)


def test_prompts_of_ones_own_need_neither_category_nor_language(tmp_path):
    path = tmp_path / "own.txt"
    path.write_text("\ufeff" + "".join(f"Question {k}?\n\n" for k in range(6)), encoding="utf-8")
    report = found(lambda text: 0, read_suite(path))
    assert (report.n_questions, report.n_prompts) == (6, 6)
    assert report.figures["languages"] is None
    assert "By category and difficulty" not in {each.title for each in sections(report)}


def test_the_suite_has_every_category_and_difficulty_in_six_languages():
    questions = read_suite()
    assert len(questions) == 36
    assert {tuple(question.prompts) for question in questions} == {("en", "de", "fr", "es", "ja", "zh")}
    cells = [(question.category, question.difficulty) for question in questions]
    assert {cells.count(cell) for cell in cells} == {3}
    assert len(WORDS) == 216
    assert SUITE.stat().st_size < 60_000


def test_changes_are_none_that_the_predictor_was_trained_in():
    taught = [*augmentation.PREFIXES, *augmentation.SUFFIXES, *augmentation.FRAMES]
    for told in vars(clothes).values():
        taught += [line for line in told if isinstance(line, str)] if isinstance(told, tuple) else []
    assert len(taught) > 350
    words = [each.replace("{q}", "").strip() for each in taught]
    for form, text in changed("QQQ").items():
        assert not [each for each in words if len(each) > 12 and each in text], form


def test_every_change_keeps_the_question_or_its_letters():
    text = "Which river flows through Vienna, and how long is it? Answer at once."
    forms = changed(text)
    assert {kind for kind, _ in forms} == set(CHANGES) >= set(SURFACE)
    for (kind, form), other in forms.items():
        if kind in ("case", "whitespace", "zero-width"):
            letters = ["".join(c for c in each.lower() if c.isalpha()) for each in (text, other)]
            assert letters[0] == letters[1], form
        elif kind == "typos":
            assert sum(a != b for a, b in zip(text.split(), other.split(), strict=True)) in (1, 2, 3)
        elif form not in ("numbered words", "base64"):
            assert text in other, form


def test_short_prompts_and_scripts_without_words_are_changed_where_they_can_be():
    for text in ("?", "你好", "a", "\ud800x", "İ", "x" * 1000):
        assert ("padding", "dots") in changed(text)


def test_reports_are_written_with_hostile_names_escaped(tmp_path):
    bad = "<script>\x1b[2J|x"
    report = found(lambda text: 0, pool=CandidatePool([bad, "b"]))
    write_audit(report, tmp_path, [Gate.parse("collapse>0.9")])
    page, markdown = (tmp_path / "report.html").read_text(), (tmp_path / "report.md").read_text()
    assert "<script>" not in page
    assert "\x1b" not in page + markdown
    assert "| collapse&gt;0.9 | 1.000" in markdown
    assert "FAILED" in page
    assert set(json.loads((tmp_path / "report.json").read_text())["figures"]) == set(FIGURES)
    assert SHORT[0].prompts["en"] not in page + markdown
