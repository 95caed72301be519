import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from predictors.open_world import ENTRIES, make_catalogue, make_population

from lookahead_router.predictors.catalogue import (
    Spelling,
    entries_from_json,
    entries_to_json,
    facts_of,
    facts_of_candidate,
)
from lookahead_router.types import Candidate

CATALOGUE = make_catalogue(make_population())


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
    assert facts.tolist() == pytest.approx([1, 0, 1, 0.041667, 1, 1, 1, 1, 1], abs=1e-4)
    assert facts_of_candidate(Candidate(name="mine")).tolist() == facts_of().tolist() == [1, *[0] * 8]
    odd = {"parameters_billion": "8", "release": 2024, "reasoning": "yes", "open": "no"}
    assert facts_of_candidate(Candidate(name="mine", metadata=odd)).tolist() == facts_of().tolist()
