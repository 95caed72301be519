import inspect
import json
import re
import shutil
from dataclasses import replace

import pytest
import yaml

from lookahead_router import LookaheadPredictor
from lookahead_router.errors import CheckpointError, ConfigurationError
from lookahead_router.escaping import to_terminal
from lookahead_router.saved.card import (
    PLACEHOLDER,
    CardSettings,
    read_results,
    record_result,
    write_card,
    write_card_settings,
)
from lookahead_router.saved.find import EMBEDDED, OPEN_EMBEDDED
from lookahead_router.saved.folder import PredictorFolder
from lookahead_router.types import Candidate, CandidatePool

RESULT = {
    "best_single": "words",
    "average": {
        "n_prompts": 1914,
        "normalized": {"value": 36.44, "low": 28.0, "high": 44.96},
        "best_single_normalized": 9.04,
        "hindsight_normalized": 41.1,
    },
    "sources": [
        {"source": "poems", "n_prompts": 1000, "normalized": {"value": 10.0, "low": -1.0, "high": 20.0}},
        {"source": "numbers", "n_prompts": 914, "normalized": {"value": None, "low": None, "high": None}},
    ],
}


@pytest.fixture
def folder(predictor_folder, tmp_path) -> PredictorFolder:
    LookaheadPredictor.load(predictor_folder).save(tmp_path / "saved")
    return PredictorFolder(tmp_path / "saved")


def card(folder: PredictorFolder) -> tuple[dict, str]:
    """Metadata and text."""
    write_card(folder)
    _, metadata, text = folder.card.read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(metadata), text


def test_training_leaves_a_card(trained_run):
    text = (trained_run / "predictor" / "README.md").read_text()
    assert "# toy" in text
    assert "72 prompts, with all of the candidates' scores and all of their answers: " in text


def test_the_card_names_what_the_files_know(folder):
    metadata, text = card(folder)
    assert metadata["library_name"] == "lookahead-router"
    assert metadata["base_model"] == "org/tiny"
    assert "llm-routing" in metadata["tags"]
    assert "model-index" not in metadata
    training = json.loads(folder.training.read_text())
    for source, n in training["train_sources"].items():
        assert f"{source} {n}" in text
    assert all(name in text for name in ("digits", "words", "lazy", "2510.19506", "4 lookahead slots"))
    assert "near the best" in text  # what a score of this objective means
    assert "the int8 graph (8-bit weights) decides as it does on" in text  # export recorded parity


def test_a_result_is_a_table_and_part_of_the_metadata(folder):
    record_result(folder, "lookahead7/test", RESULT)
    metadata, text = card(folder)
    assert "**36.4 [28.0, 45.0]**" in text
    assert "The best single candidate of the training data, words, has 9.0. The best candidate of each" in text
    assert "| poems | 1,000 | 10.0 [-1.0, 20.0] |" in text
    assert "| numbers | 914 | – |" in text
    (entry,) = metadata["model-index"][0]["results"]
    assert entry["metrics"][0]["value"] == 36.4


def test_results_stand_beside_each_other_and_the_same_name_is_replaced(folder):
    parity = read_results(folder)
    record_result(folder, "a/test", {**RESULT, "best_single": None})
    record_result(folder, "b/test", RESULT)
    record_result(folder, "a/test", RESULT)
    assert read_results(folder) == {**parity, "a/test": RESULT, "b/test": RESULT}


def test_without_training_data_the_best_single_candidate_is_left_out(folder):
    average = {**RESULT["average"], "best_single_normalized": None}
    record_result(folder, "x/test", {**RESULT, "best_single": None, "average": average})
    text = card(folder)[1]
    assert "The best candidate of each benchmark, chosen in hindsight, has 41.1." in text
    assert "best single" not in text


def test_licence_terms_limits_and_notes_come_from_the_settings(folder):
    settings = CardSettings(
        license="cc-by-nc-4.0", terms=("No sale.",), limits=("Not for poems.",), notes=("One seed.",)
    )
    write_card_settings(folder, settings)
    metadata, text = card(folder)
    assert metadata["license"] == "cc-by-nc-4.0"
    assert "## Terms\n\n- No sale.\n" in text
    assert "## Limits\n\n- Not for poems.\n" in text
    assert "One seed." in text


def test_prices_are_a_table_where_any_is_known(folder):
    assert "- digits\n- words\n- lazy\n" in card(folder)[1]
    priced = Candidate(name="words", input_usd_per_million_tokens=1.5, output_usd_per_million_tokens=6)
    folder.write(folder.read_config(), CandidatePool(["digits", priced, "lazy"]))
    text = card(folder)[1]
    assert "| candidate | input, USD per 1M tokens | output, USD per 1M tokens |\n| ---|--:|--: |" in text
    assert "| words | 1.5 | 6 |\n| lazy | – | – |" in text


def test_the_snippet_runs_with_the_folder(folder, capsys):
    (block,) = re.findall(r"```python\n(.*?)```", card(folder)[1], re.DOTALL)
    exec(compile(block.replace(PLACEHOLDER, str(folder.path)), "card", "exec"), {})
    assert "digits" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("langchain_lookahead_router", "ChatLookaheadRouter"),
        ("llama_index.llms.lookahead_router", "LookaheadRouterLLM"),
    ],
)
def test_the_adapters_are_what_the_card_calls_them(folder, module, name):
    text = card(folder)[1]
    assert f"`{name}` of `{module.replace('_', '-').replace('.', '-')}`" in text
    adapter = getattr(pytest.importorskip(module), name)
    assert {"router", "candidates"} <= set(adapter.model_fields) | set(inspect.signature(adapter).parameters)


@pytest.mark.parametrize(
    ("n_scores", "n_answers", "words"),
    [
        (216, 216, "72 prompts, with all of the candidates' scores and all of their answers: "),
        (108, 0, "72 prompts, with 50.0 % of the candidates' scores and none of their answers: "),
        (None, None, "72 prompts: "),
    ],
)
def test_what_was_known_of_the_prompts_is_told(folder, n_scores, n_answers, words):
    training = json.loads(folder.training.read_text())
    counts = {"n_scores": n_scores, "n_answers": n_answers}
    folder.training.write_text(json.dumps({**training, **counts}))
    assert words in card(folder)[1]


HOSTILE = "<script>alert(1)</script> <img src=x onerror=alert(1)> [x](javascript:alert(1)) a|b\n# forged\x1b[2J\u202e"


def test_no_name_from_the_files_acts_in_the_card(folder):
    config = replace(folder.read_config(), name=HOSTILE, library_version=HOSTILE)
    folder.write(config, CandidatePool([HOSTILE, Candidate(name="`code`"), "- lazy"]))
    training = json.loads(folder.training.read_text())
    recipe = {**training["recipe"], "name": HOSTILE, "backbone": HOSTILE, "data": {"exclude_sources": [HOSTILE]}}
    folder.training.write_text(json.dumps({**training, "recipe": recipe, "train_sources": {HOSTILE: 1}}))
    write_card_settings(folder, CardSettings(notes=(HOSTILE,), limits=(HOSTILE,), terms=(HOSTILE,), license=HOSTILE))
    sources = [{**RESULT["sources"][0], "source": HOSTILE}]
    record_result(folder, HOSTILE, {**RESULT, "best_single": HOSTILE, "sources": sources})
    metadata, text = card(folder)
    assert metadata["license"] == metadata["model-index"][0]["name"] == to_terminal(HOSTILE)
    assert "<" not in text
    assert not re.search(r"(?<!\\)\]\((?!https://arxiv)", text)
    assert not re.search(r"^# forged", text, re.MULTILINE)
    assert {"\x1b", "\u202e"} & set(folder.card.read_text(encoding="utf-8")) == set()
    assert "- \\- lazy\n" in text
    assert (
        r"| &lt;script&gt;alert(1)&lt;/script&gt; &lt;img src=x onerror=alert(1)&gt; [x\](javascript:alert(1)) a\|b"
        in text
    )


def test_empty_sections_are_left_out(folder):
    text = card(folder)[1]
    assert "## Terms" not in text
    assert "## Calibration" not in text


def test_the_calibration_error_is_told(folder):
    curve = {"method": "platt", "slope": 1.0, "intercept": 0.0}
    folder.calibration.write_text(
        json.dumps({"curves": {"digits": curve}, "n_prompts": 1628, "expected_calibration_error": 0.0389})
    )
    assert "On held-out folds of 1,628 validation prompts its expected calibration error is 0.039" in " ".join(
        card(folder)[1].split()
    )


def test_benchmarks_of_the_hub_get_their_results_in_its_format(folder):
    benchmark = {"dataset_id": "org/lookahead7", "task_id": "routing", "result": "lookahead7/test"}
    write_card_settings(folder, CardSettings(benchmarks=(benchmark,)))
    record_result(folder, "lookahead7/test", RESULT)
    card(folder)
    (entry,) = yaml.safe_load(folder.hub_results.read_text())
    assert entry == {"dataset": {"id": "org/lookahead7", "task_id": "routing"}, "value": 36.4}


def test_a_result_over_nothing_and_a_refit_are_told_and_a_malformed_one_is_named(folder):
    nothing = {**RESULT["average"], "normalized": {"value": None, "low": None, "high": None}}
    record_result(folder, "x/test", {**RESULT, "average": {**nothing, "hindsight_normalized": None}})
    training = json.loads(folder.training.read_text())
    folder.training.write_text(json.dumps({**training, "refit": {"before": 0.7, "after": 0.6}}))
    metadata, text = card(folder)
    assert "model-index" not in metadata
    assert "**–**" in text
    assert "was not kept" in text
    record_result(folder, "y/test", {"average": {}})
    with pytest.raises(CheckpointError, match=r"evaluation\.json or training\.json is malformed"):
        write_card(folder)


def test_a_benchmark_that_is_no_longer_named_leaves_no_file(folder):
    test_benchmarks_of_the_hub_get_their_results_in_its_format(folder)
    write_card_settings(folder, CardSettings())
    write_card(folder)
    assert not folder.hub_results.exists()


def test_a_card_can_be_rendered_again_and_says_the_same(folder):
    write_card(folder)
    before = folder.card.read_bytes()
    write_card(folder)
    assert folder.card.read_bytes() == before


def test_rendering_changes_no_recorded_hash(folder):
    revision = folder.revision(folder.read_config())
    record_result(folder, "a/test", RESULT)
    write_card(folder)
    assert folder.revision(folder.read_config()) == revision
    LookaheadPredictor.load(folder.path)


@pytest.mark.parametrize("content", ["{", "[]", '{"licence": "mit"}'])
def test_malformed_settings_are_named(folder, content):
    folder.card_settings.write_text(content)
    with pytest.raises(CheckpointError, match=r"card\.json"):
        write_card(folder)


def test_an_unknown_setting_of_the_card_is_refused():
    with pytest.raises(ConfigurationError, match="licence"):
        CardSettings(licence="mit")


@pytest.mark.parametrize("embedded", [EMBEDDED, OPEN_EMBEDDED], ids=lambda folder: folder.name)
def test_the_embedded_card_is_what_its_files_say(embedded, tmp_path):
    shutil.copytree(embedded, tmp_path / "copy")
    copy = PredictorFolder(tmp_path / "copy")
    write_card(copy)
    assert copy.card.read_text(encoding="utf-8") == (embedded / "README.md").read_text(encoding="utf-8")
