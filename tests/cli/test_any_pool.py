"""Commands for predictors of any pool."""

import json
import shutil

import pytest
from predictors.open_folder import write_open_folder

from lookahead_router import Router, RoutingDataset
from lookahead_router.data.examples import Outcome, RoutingExample
from lookahead_router.errors import ConfigurationError
from lookahead_router.predictors.fitted import BestSingle, InContext
from lookahead_router.predictors.network_embedder import NetworkEmbedder
from lookahead_router.predictors.open_pool import OpenPoolPredictor


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_open_folder(tmp_path_factory.mktemp("open") / "open-toy")


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    path = tmp_path_factory.mktemp("answers") / "answers.jsonl"
    outcomes = {"mine": Outcome(score=0.0), "gpt-5": Outcome(score=1.0)}
    RoutingDataset.from_examples(RoutingExample(f"one two {i}", outcomes) for i in range(20)).to_jsonl(path)
    return path


def test_candidates_are_found_with_prices_sources_and_what_they_are_good_at(cli, folder):
    code, out, err = cli("candidates", "--search", "claude", "--router", folder)
    assert code == 0
    assert "claude-sonnet-4:thinking" in out
    assert "gpt-5" not in out
    for word in ("mathematics", "code", "knowledge", "writing", "everyday", "gsm", "2025-05-22", "3 / 15"):
        assert word in out
    assert "3 of 3 found, 8 known; list prices as of 2026-01-15" in err
    record = json.loads(cli("candidates", "--router", folder, "--limit", 2, "--json")[1])
    assert [each["name"] for each in record["candidates"]] == ["llama-3.1-8b-instruct", "gpt-4o-2024-08-06"]
    assert all(0 < chance < 1 for each in record["candidates"] for chance in each["chances"].values())
    assert (record["n_found"], record["prices_as_of"]) == (8, "2026-01-15")


def test_a_search_that_finds_nobody_says_that_names_work_nevertheless(cli, folder):
    code, out, _ = cli("candidates", "--search", "qqq", "--router", folder)
    assert (code, "any name works" in out) == (0, True)
    assert json.loads(cli("candidates", "--search", "qqq", "--router", folder, "--json")[1])["candidates"] == []


def test_route_among_any_names_shows_chance_cost_and_what_they_were_taken_for(cli, folder):
    names = "openai/gpt-4o,claude-sonnet-4,mine=llama-3.1-8b-instruct"
    code, out, err = cli("route", "one two", "--router", folder, "--candidates", names)
    assert (code, err) == (0, "")
    for word in ("chance of a good answer", "±", "expected USD", "the newest of its versions here", "chosen"):
        assert word in out
    assert "starts from the profile of llama-3.1-8b-instruct" in out
    record = json.loads(cli("route", "one two", "--router", folder, "--candidates", names, "--json")[1])
    assert list(record["scores"]) == ["openai/gpt-4o", "claude-sonnet-4", "mine"]


def test_a_known_pool_needs_no_word_on_it(cli, folder):
    assert "taken for" not in cli("route", "one two", "--router", folder)[1]


def test_an_unknown_name_warns_in_one_line_and_works(cli, folder):
    code, out, err = cli("route", "one", "two", "--router", folder, "--candidates", "qqq,gpt-5")
    assert code == 0
    assert err.startswith("warning: nothing is known of qqq")
    assert err.count("\n") == 1
    assert "gpt-5" in out or "qqq" in out


def test_quality_chooses_the_cheapest_that_keeps_it(cli, folder):
    options = ("--router", folder, "--candidates", "claude-sonnet-4,llama-3.1-8b-instruct", "--json")
    record = json.loads(cli("route", "one two", "--quality", 0, *options)[1])
    assert (record["candidate"]["name"], record["policy"][:17]) == ("llama-3.1-8b-instruct", "KeepQuality(share")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["route", "x", "--quality", 0.9, "--policy", "best-quality"], 2, "one of quality and policy"),
        (["route", "x", "--quality", 7], 2, "[0, 1]"),
        (["route", "x", "--quality", 0.9, "--candidates", "qqq,gpt-5"], 2, "missing: qqq"),
        (["route", "x", "--candidates", "mine=qqq"], 2, "unknown candidate 'qqq'"),
        (["route", "x", "--candidates", "a,,b"], 2, "NAME=KNOWN"),
        (["route", "x", "--candidates", "a=,b"], 2, "NAME=KNOWN"),
        (["route", "x", "--candidates", "a,a"], 2, "twice"),
        (["candidates", "--limit", 0], 2, "limit"),
        (["onboard", "none.jsonl", "--output", "new"], 4, "none.jsonl"),
    ],
)
def test_a_wrong_option_is_one_line_and_a_code(cli, folder, arguments, code, words):
    found, _, err = cli(*arguments, "--router", folder)
    assert found == code
    assert words in err.splitlines()[-1]


@pytest.mark.parametrize("command", [["candidates"], ["onboard", "answers", "--output", "new"]])
def test_a_fixed_pool_is_told(cli, predictor_folder, answers, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = [str(answers) if each == "answers" else each for each in command]
    code, _, err = cli(*arguments, "--router", predictor_folder)
    assert (code, "fixed by its training" in err) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_onboarding_says_what_changed_and_writes_a_router(cli, folder, answers, tmp_path):
    output = tmp_path / "my router"
    options = ("--router", folder, "--candidates", "gpt-5,mine=llama-3.1-8b-instruct,claude-sonnet-4")
    code, out, _ = cli("onboard", answers, *options, "--output", output)
    assert code == 0
    for word in ("20", "0.000", "1.000", "→", "mathematics", f"route --router '{output}'"):
        assert word in out
    router = Router.from_pretrained(output)
    assert router.pool.names == ("gpt-5", "mine", "claude-sonnet-4")
    record = json.loads(cli("onboard", answers, *options, "--output", output, "--json")[1])["candidates"]
    by_name = {each["name"]: each for each in record}
    assert by_name["mine"]["after"]["mathematics"] != by_name["mine"]["before"]["mathematics"]
    assert (by_name["claude-sonnet-4"]["n_answers"], by_name["claude-sonnet-4"]["mean_score"]) == (0, None)
    assert by_name["mine"]["n_answers"] == 20


def test_onboarding_beside_answers_that_the_router_learnt_from(cli, folder, answers, tmp_path):
    assert cli("onboard", answers, "--router", folder, "--output", tmp_path / "first")[0] == 0
    newcomer = tmp_path / "newcomer.jsonl"
    RoutingDataset.from_examples(
        RoutingExample(f"one two {i}", {"new": Outcome(score=float(i % 2))}) for i in range(10)
    ).to_jsonl(newcomer)
    given = ("onboard", tmp_path / "first", newcomer, "--output", tmp_path / "second")
    assert cli(*given)[0] == 0
    alone = Router.from_pretrained(tmp_path / "second").route("one").probabilities["new"]
    assert cli(*given, "--beside", answers)[0] == 0
    assert Router.from_pretrained(tmp_path / "second").route("one").probabilities["new"] != alone


def test_whoever_answered_joins_the_router_that_is_named(cli, folder, answers, tmp_path):
    assert cli("onboard", answers, "--router", folder, "--output", tmp_path / "out")[0] == 0
    names = Router.from_pretrained(tmp_path / "out").pool.names
    assert names[-2:] == ("mine", "gpt-5") or names[-2:] == ("gpt-5", "mine")
    assert len(names) == 5


def test_onboarding_leaves_a_folder_of_something_else_alone(cli, folder, answers, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    code, _, err = cli("onboard", answers, "--router", folder, "--output", tmp_path)
    assert (code, "holds more" in err) == (2, True)


def test_info_says_what_names_were_taken_for_without_the_network(cli, folder, tmp_path, answers):
    cli("onboard", answers, "--router", folder, "--candidates", "gpt-5,openai/gpt-4o,mine", "--output", tmp_path / "x")
    copy = shutil.copytree(tmp_path / "x", tmp_path / "copy")
    (copy / "onnx" / "model_int8.onnx").write_bytes(b"no graph")
    code, out, _ = cli("info", copy)
    assert code == 0
    for word in (
        "gpt-5: known",
        "20 answers of yours",
        "taken for gpt-4o-2024-11-20",
        "8 known candidates",
        "2026-01-15",
    ):
        assert word in out
    record = json.loads(cli("info", copy, "--json")[1])
    assert record["profiles"]["openai/gpt-4o"]["how"] == "newest"
    assert record["profiles"]["mine"]["taken_for"] is None
    assert (record["n_known"], record["prices_as_of"]) == (8, "2026-01-15")


def test_a_router_that_was_fitted_goes_on_with_more_answers_and_a_candidate_that_joins(cli, folder, answers, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert cli("onboard", folder, answers, "--output", first)[0] == 0
    lines = [{"prompt": f"one two {i}", "candidate": "newcomer", "score": 1.0, "response": "x"} for i in range(5)]
    (tmp_path / "more.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, out, err = cli("onboard", first, tmp_path / "more.jsonl", "--output", second, "--json")
    assert code == 0, err
    found = {each["name"]: each["n_answers"] for each in json.loads(out)["candidates"]}
    assert found["newcomer"] == 5
    assert {"mine", "newcomer"} <= set(Router.from_pretrained(second).pool.names)


def test_a_router_is_named_once(cli, folder, answers, tmp_path):
    code, _, err = cli("onboard", folder, answers, "--router", folder, "--output", tmp_path / "x")
    assert (code, "give a router once" in err) == (2, True)


def test_who_brings_a_record_joins_an_in_context_router(cli, folder, tmp_path):
    reader, wider = tmp_path / "reader", tmp_path / "wider"
    embedder = NetworkEmbedder(OpenPoolPredictor.load(folder))
    known = {name: Outcome(score=float(k)) for k, name in enumerate(("weak", "good"))}
    rows = [RoutingExample(f"{'one two'[row % 2 * 4 :]} {row}", known) for row in range(60)]
    InContext(embedder=embedder, n_epochs=1).fit(RoutingDataset.from_examples(rows)).save(reader)
    answers = tmp_path / "answers.jsonl"
    examples = [RoutingExample(f"one {row}", {"new": Outcome(score=1.0), "good": known["good"]}) for row in range(25)]
    RoutingDataset.from_examples(examples).to_jsonl(answers)
    code, out, err = cli("onboard", reader, answers, "--output", wider)
    assert code == 0, err
    for word in ("– → ", "85 answers on record", "25 answers on record", "60 answers on record", f"--router {wider}"):
        assert word in out
    assert Router.from_pretrained(wider).pool.names == ("weak", "good", "new")
    code, out, err = cli("onboard", reader, answers, "--output", wider, "--candidates", "new,weak", "--json")
    assert code == 0, err
    found = {each["name"]: each for each in json.loads(out)["candidates"]}
    assert (found["new"]["n_answers"], found["new"]["before"], found["weak"]["n_answers"]) == (25, None, 0)
    assert found["weak"]["before"].keys() == found["new"]["after"].keys()
    assert Router.from_pretrained(wider).pool.names == ("new", "weak")
    for options, code, words in (
        (("--candidates", "new=gpt-5"), 2, "knows no profiles that new could start from"),
        (("--beside", answers), 2, "of which answers beside tell"),
        (("--candidates", "nobody"), 2, "nobody"),
    ):
        found, _, err = cli("onboard", reader, answers, "--output", tmp_path / "not", *options)
        assert (found, words in err) == (code, True)
    few = tmp_path / "few.jsonl"
    RoutingDataset.from_examples(examples[:19]).to_jsonl(few)
    code, _, err = cli("onboard", reader, few, "--output", tmp_path / "not")
    assert (code, "at least 20 scored answers" in err) == (4, True)
    assert not (tmp_path / "not").exists()


def test_a_fitted_router_that_takes_nobody_in_says_what_to_do(cli, answers, tmp_path):
    BestSingle().fit(RoutingDataset.from_file(answers)).save(tmp_path / "fitted")
    code, _, err = cli("onboard", tmp_path / "fitted", answers, "--output", tmp_path / "not")
    assert (code, "lookahead-router fit OLD NEW --output FOLDER" in err) == (2, True)
    with pytest.raises(ConfigurationError, match="fit all answers together again"):
        Router.from_pretrained(tmp_path / "fitted").onboard(RoutingDataset.from_file(answers))


def test_a_workhorse_is_named_where_it_answers_and_where_it_does_not(cli):
    hard = "Prove that there are infinitely many primes of the form 4k + 3."
    says = "{} answers unless another is foreseen to be better by more than 0.03"
    code, out, err = cli("route", "hi")
    assert (code, err) == (0, "")
    assert says.format("gpt-4o-mini") in out
    assert "utility" not in out
    assert "workhorse" in cli("route", hard)[1]
    assert says.format("gpt-4o") in cli("route", "--policy", "workhorse:gpt-4o", "hi")[1]
    assert says.format("gpt-4o") not in cli("route", "--policy", "best-quality", "hi")[1]
    code, _, err = cli("route", "--policy", "workhorse:gpt-7", "hi")
    assert code != 0
    assert "'gpt-7'" in err
    assert cli("route", "--policy", "workhorse", "hi")[0] != 0
