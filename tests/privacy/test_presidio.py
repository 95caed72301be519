"""The hook for Presidio with Presidio itself, which is no dependency: pip install presidio-analyzer, then -m slow.

Names and places take a model of spaCy: an installed one, or the folder that LOOKAHEAD_ROUTER_TEST_SPACY names.
"""

import os
import socket

import pytest

from lookahead_router import Privacy, read_request
from lookahead_router.errors import ConfigurationError
from lookahead_router.evaluation.audit_private import SHAPELESS, planted
from lookahead_router.privacy import presidio

pytestmark = pytest.mark.slow
MODELS = ("en_core_web_sm", "en_core_web_md", "en_core_web_lg")


@pytest.fixture(autouse=True)
def looked_up(monkeypatch):
    """Hosts that were looked up; none is found."""
    hosts = []

    def refuse(host, *arguments, **options):
        hosts.append(host)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return hosts


def analyzer(model):
    """Presidio's, on a model that is there already: it downloads any other."""
    engines = pytest.importorskip("presidio_analyzer.nlp_engine")
    from presidio_analyzer import AnalyzerEngine

    settings = {"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": str(model)}]}
    engine = engines.NlpEngineProvider(nlp_configuration=settings).create_engine()
    return AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])


@pytest.fixture(scope="module")
def blank(tmp_path_factory):
    """Without a model: Presidio's patterns alone."""
    pytest.importorskip("presidio_analyzer")
    spacy = pytest.importorskip("spacy")
    folder = tmp_path_factory.mktemp("blank")
    spacy.blank("en").to_disk(folder)
    return analyzer(folder)


@pytest.fixture(scope="module")
def model():
    pytest.importorskip("presidio_analyzer")
    spacy = pytest.importorskip("spacy")
    named = os.environ.get("LOOKAHEAD_ROUTER_TEST_SPACY")
    found = named or next(filter(spacy.util.is_package, MODELS), None)
    if found is None:
        pytest.skip("no English model of spaCy")
    return analyzer(found)


def test_its_patterns_find_what_they_are_asked_for_and_nothing_is_looked_up(blank, looked_up):
    privacy = Privacy(kinds=(), detectors=[presidio(blank, entities=["CREDIT_CARD", "IBAN_CODE"])])
    assert privacy.found_in(read_request("I paid with 4111 1111 1111 1111.")) == ("CREDIT_CARD",)
    assert privacy.found_in(read_request("Send it to DE89 3704 0044 0532 0130 00.")) == ("IBAN_CODE",)
    assert privacy.found_in(read_request("Reverse a linked list, today.")) == ()
    assert looked_up == []


def test_what_it_would_refuse_with_every_text_is_an_error_when_it_is_built(blank):
    with pytest.raises(ConfigurationError, match="does not know SHOE_SIZE"):
        presidio(blank, entities=["SHOE_SIZE"])
    with pytest.raises(ConfigurationError, match="nothing in the language 'de'"):
        presidio(blank, language="de")


def test_a_model_finds_names_and_places_in_its_language_and_looks_nothing_up(model, looked_up):
    privacy = Privacy(detectors=[presidio(model, entities=["PERSON", "LOCATION"])])
    assert privacy.found_in(read_request("Write to Margaret Ellison in Leeds.")) == ("LOCATION", "PERSON")
    assert privacy.found_in(read_request("What is 2 + 2?")) == ()
    english = [each.prompt for each in planted() if each.language == "en" and each.kind in SHAPELESS]
    found = [bool(privacy.found_in(read_request(prompt))) for prompt in english]
    assert sum(found) >= 0.6 * len(found)
    assert looked_up == []
