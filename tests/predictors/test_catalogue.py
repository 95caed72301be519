import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from predictors.open_world import ENTRIES, make_catalogue, make_population

from lookahead_router.predictors.catalogue import (
    PRODUCTS,
    PUBLIC,
    Spelling,
    entries_from_json,
    entries_to_json,
    facts_of,
    facts_of_candidate,
    is_coder,
    size_in,
)
from lookahead_router.predictors.load import load_predictor
from lookahead_router.saved.find import OPEN_EMBEDDED
from lookahead_router.types import Candidate

CATALOGUE = make_catalogue(make_population())


@pytest.fixture(scope="module")
def embedded():
    return load_predictor(OPEN_EMBEDDED).catalogue


@pytest.mark.parametrize(
    ("name", "known", "how"),
    [
        ("gpt-4o-2024-08-06", "gpt-4o-2024-08-06", "exact"),
        ("openai/gpt-4o-2024-08-06", "gpt-4o-2024-08-06", "same"),
        ("GPT-4o", "gpt-4o-2024-11-20", "newest"),
        ("gpt-4o-latest", "gpt-4o-2024-11-20", "newest"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "llama-3.1-8b-instruct", "same"),
        ("llama3.1:8b", "llama-3.1-8b-instruct", "same"),
        ("llama3.1:8b-instruct-q4_K_M", "llama-3.1-8b-instruct", "same"),
        ("Llama-3.1-8B-Instruct-AWQ-INT4", "llama-3.1-8b-instruct", "same"),
        ("hf.co/bartowski/Llama-3.1-8B-Instruct-GGUF", "llama-3.1-8b-instruct", "same"),
        ("anthropic/claude-3.5-sonnet", "claude-3-5-sonnet-20241022", "newest"),
        ("bedrock/us.anthropic.claude-3-5-sonnet-20241022-v2:0", "claude-3-5-sonnet-20241022", "same"),
        ("claude-3-5-sonnet@20241022", "claude-3-5-sonnet-20241022", "same"),
        ("openrouter/anthropic/claude-3.5-sonnet:beta", "claude-3-5-sonnet-20241022", "newest"),
        ("claude-sonnet-4-20250514", "claude-sonnet-4", "same"),
        ("claude-sonnet-4", "claude-sonnet-4", "exact"),
        ("anthropic/claude-sonnet-4:thinking", "claude-sonnet-4:thinking", "same"),
        ("gpt-5.5", "gpt-5", "family"),
        ("openai/gpt-9", "gpt-5", "family"),
        ("claude-sonnet-5", "claude-sonnet-4", "family"),
    ],
)
def test_a_name_is_taken_for_the_model_that_people_mean(name, known, how):
    match = CATALOGUE.match(name)
    assert (match.name, match.entry.name, match.how) == (name, known, how)


@pytest.mark.parametrize(
    "name", ["my-finetune", "gpt-5-mini", "llama-3.1-70b-instruct", "llama-9-900b", "phi-4", "4o", "8b", "/", "-", "🦙"]
)
def test_a_name_of_another_model_is_not_known(name):
    match = CATALOGUE.match(name)
    assert (match.entry, match.how) == (None, "unknown")
    assert "not known" in str(match)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("llama3.1", "llama-3.1-8b-instruct"),
        ("llama3.1:latest", "llama-3.1-8b-instruct"),
        ("ollama/mistral", "mistral-7b-instruct-v0.3"),
        ("qwen2.5-coder", "qwen2.5-coder-7b-instruct"),
        ("gpt-oss", "gpt-oss-20b"),
        ("groq/llama-3.3-70b-versatile", "llama-3.3-70b-instruct"),
        ("llama-3.1-8b-instant", "llama-3.1-8b-instruct"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo", "llama-3.1-8b-instruct"),
        ("accounts/fireworks/models/llama-v3p1-8b-instruct", "llama-3.1-8b-instruct"),
        ("@cf/meta/llama-3.1-8b-instruct-fast", "llama-3.1-8b-instruct"),
        ("databricks-meta-llama-3-3-70b-instruct", "llama-3.3-70b-instruct"),
        ("meta.llama3-1-8b-instruct-v1:0", "llama-3.1-8b-instruct"),
    ],
)
def test_names_of_hosts_are_known_to_the_embedded_catalogue(embedded, name, known):
    assert embedded.match(name).entry.name == known


def test_each_product_stands_for_an_entry_of_the_embedded_catalogue(embedded):
    for name in PRODUCTS:
        assert embedded.match(name).how in PUBLIC, name


def test_turbo_is_part_of_a_name_where_no_host_added_it(embedded):
    assert embedded.match("gpt-4-turbo").entry.name == "gpt-4-turbo-2024-04-09"
    assert embedded.match("glm-5-turbo").entry.name == "glm-5-turbo"


def test_an_open_model_two_versions_on_is_no_relative(embedded):
    assert embedded.match("phi4").how == "unknown"
    assert embedded.match("glm-4.6").entry.name == "glm-4.5"


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("gemma3:4b", 4),
        ("my-8x7b", 56),
        ("qwen3-30b-a3b", 30),
        ("Qwen3-0.6B", 0.6),
        ("org/tune-1.5b-v2", 1.5),
        ("gpt-4o", None),
        ("0b", None),
        ("bert-110m", None),
        ("web", None),
        ("4bit", None),
    ],
)
def test_the_size_is_read_from_a_name(name, size):
    assert size_in(name) == size


def test_a_size_in_the_name_counts_as_one_in_the_metadata():
    told = facts_of_candidate(Candidate(name="gemma3:4b"))
    given = facts_of_candidate(Candidate(name="mine", metadata={"parameters_billion": 4, "open": True}))
    assert told.tolist() == given.tolist()
    own = Candidate(name="mine-7b", metadata={"parameters_billion": 70, "open": False})
    assert facts_of_candidate(own).tolist() == facts_of(parameters_billion=70, is_open=False).tolist()


def test_another_date_is_a_relative_and_not_the_same_model():
    assert CATALOGUE.match("gpt-4o-2023-01-01").how == "family"


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=40))
def test_any_text_is_matched_or_not(text):
    match = CATALOGUE.match(text)
    assert match.entry is None or match.entry in ENTRIES
    assert text in str(match)


@given(
    st.sampled_from([entry.name for entry in ENTRIES if entry.name != "llama-3.1-8b"]),
    st.sampled_from(["openai/", "x/y/", "azure_ai/", ""]),
)
def test_case_and_providers_do_not_count(name, provider):
    assert CATALOGUE.match(provider + name.upper()).entry.name == name


def test_every_entry_is_found_under_its_own_name():
    for entry in ENTRIES:
        assert CATALOGUE.match(entry.name).entry is entry


def test_a_search_finds_every_word_and_lists_the_best_known_first():
    found = [entry.name for entry in CATALOGUE.search("claude sonnet")]
    assert found[0] == "claude-3-5-sonnet-20241022"
    assert set(found) == {"claude-3-5-sonnet-20241022", "claude-sonnet-4", "claude-sonnet-4:thinking"}
    assert len(CATALOGUE.search()) == len(ENTRIES)
    assert CATALOGUE.search("nobody") == []


def test_entries_survive_json():
    assert entries_from_json(entries_to_json(ENTRIES)) == ENTRIES


def test_spelling_takes_names_apart():
    spelling = Spelling.of("bedrock/eu.anthropic.claude-3-5-haiku-20241022-v1:0")
    assert spelling.words == ("claude", "3", "5", "haiku")
    assert spelling.date == "20241022"
    assert Spelling.of("command-r-08-2024").date == "202408"
    assert Spelling.of("gemini-1.5-pro-002").words == ("gemini", "1", "5", "pro")


def test_facts_of_a_candidate_are_read_from_price_and_metadata():
    about = {"parameters_billion": 10**1.5, "release": "2024-07", "reasoning": True, "open": True}
    candidate = Candidate(name="mine", output_usd_per_million_tokens=10.0, metadata=about)
    facts = facts_of_candidate(candidate)
    assert facts.tolist() == pytest.approx([1, 0, 1, 0.041667, 1, 1, 1, 1, 1, 0], abs=1e-4)
    assert facts_of_candidate(Candidate(name="mine")).tolist() == facts_of().tolist() == [1, *[0] * 9]
    odd = {"parameters_billion": "8", "release": 2024, "reasoning": "yes", "open": "no"}
    assert facts_of_candidate(Candidate(name="mine", metadata=odd)).tolist() == facts_of().tolist()


def test_a_name_tells_who_was_made_for_code():
    coders = (
        "qwen2.5-coder-7b-instruct",
        "codestral-2501",
        "gpt-5.1-codex:medium",
        "grok-code-fast-1",
        "CodeLlama-34b",
    )
    others = ("gpt-4o", "cohere-command-r", "decoder-7b", "barcode-reader", "encode-1")
    assert [is_coder(name) for name in (*coders, *others)] == [True] * 5 + [False] * 5
    said = Candidate(name="mine", metadata={"coder": True}), Candidate(name="my-coder", metadata={"coder": False})
    assert [facts_of_candidate(candidate)[-1] for candidate in said] == [1, 0]
