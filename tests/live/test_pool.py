import json

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lookahead_router import Privacy
from lookahead_router.errors import ConfigurationError, UnknownCandidateError
from lookahead_router.live.pool import DEFAULT_MAX_TOKENS, CandidateConfig, PoolConfig

YAML = """
quality: 0.95
candidates:
  - name: gpt-4o-2024-08-06
  - name: local
    model: llama3.1:8b
    base_url: http://localhost:11434/v1/
    input_price: 0
    output_price: 0
    context_window: 8192
    capabilities: [tools]
    parameters: {temperature: 0, max_tokens: 300}
    profile: llama-3.1-8b-instruct
"""


def write(tmp_path, text, name="pool.yaml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_gives_the_pool_with_list_prices_where_it_has_none(tmp_path):
    config = PoolConfig.load(write(tmp_path, YAML))
    known, local = config.pool()
    assert (known.name, known.input_usd_per_million_tokens, known.output_usd_per_million_tokens) == (
        "gpt-4o-2024-08-06",
        2.5,
        10,
    )
    assert (local.input_usd_per_million_tokens, local.context_window_tokens) == (0, 8192)
    assert local.capabilities == {"tools"}
    assert config.profiles() == {"local": "llama-3.1-8b-instruct"}
    assert config["local"].url == "http://localhost:11434/v1"
    assert config.quality == 0.95


def test_json_and_yaml_say_the_same(tmp_path):
    config = PoolConfig.load(write(tmp_path, YAML))
    record = json.loads(config.model_dump_json())
    assert PoolConfig.load(write(tmp_path, json.dumps(record), "pool.json")) == config


def test_the_openai_key_goes_to_openai_alone():
    assert CandidateConfig(name="a").key_variable == "OPENAI_API_KEY"
    assert CandidateConfig(name="a", base_url="http://localhost:1/v1").key_variable is None
    assert CandidateConfig(name="a", base_url="https://b.example/v1", api_key_env="B_KEY").key_variable == "B_KEY"


def test_an_answer_always_has_a_limit_and_the_users_own_stands():
    assert CandidateConfig(name="a").call_parameters() == {"max_completion_tokens": DEFAULT_MAX_TOKENS}
    local = CandidateConfig(name="a", base_url="http://localhost:1/v1", parameters={"temperature": 0})
    assert local.call_parameters() == {"temperature": 0, "max_tokens": DEFAULT_MAX_TOKENS}
    own = CandidateConfig(name="a", parameters={"max_tokens": 7})
    assert (own.call_parameters(), own.max_tokens) == ({"max_tokens": 7}, 7)


def test_a_price_is_that_of_the_model_where_the_name_is_ones_own_and_a_relatives_is_nobodys():
    named = PoolConfig(candidates=[{"name": "mine", "model": "gpt-4o-2024-08-06"}, {"name": "gpt-4o-9-unheard-of"}])
    assert [candidate.has_price for candidate in named.pool()] == [True, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected settings such as"),
        ("- a", "expected settings such as"),
        ("candidates: []", "candidates: "),
        ("candidates: [{model: x}]", "name: Field required"),
        ("candidates: [{name: a}, {name: a}]", "must be unique; repeated: a"),
        ("candidates: [{name: a, input_price: 1}]", "go together"),
        ("candidates: [{name: a, input_price: -1, output_price: 1}]", "greater than or equal to 0"),
        ("candidates: [{name: a, base_url: localhost}]", "expected a URL"),
        ("candidates: [{name: a, base_url: 'https://user:secret123@x.example'}]", "holds no key"),
        ("candidates: [{name: a, api_key_env: 'sk-secret123secret123'}]", "and not a key"),
        ("candidates: [{name: a, api_key: secret123}]", "api_key: Extra inputs are not permitted"),
        ("candidates: [{name: a, parameters: {api_key: secret123}}]", "api_key_env"),
        ("candidates: [{name: a, parameters: {extra_headers: {x: secret123}}}]", "headers may hold keys"),
        ("candidates: [{name: a, parameters: {max_tokens: 0}}]", "at least 1"),
        ("candidates: [{name: a, parameters: {max_tokens: 1, max_completion_tokens: 1}}]", "two limits"),
        ("candidates: [{name: a, timeout: 0}]", "timeout"),
        ("candidates: [{name: a, name: b}]", "line 1: no YAML: name stands there twice"),
        ("candidates: [{name: secret123", "no YAML"),
        ("candidates: [{name: a, when: 2024-99-99}]", "no YAML"),
        ("colour: red\ncandidates: [{name: a}]", "colour: Extra inputs"),
    ],
)
def test_whatever_is_wrong_is_said_and_nothing_private_with_it(tmp_path, text, message):
    with pytest.raises(ConfigurationError) as caught:
        PoolConfig.load(write(tmp_path, text))
    assert message in str(caught.value)
    assert "secret123" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"cannot read .*no\.yaml: No such file"):
        PoolConfig.load(tmp_path / "no.yaml")
    (tmp_path / "latin.yaml").write_bytes("name: é".encode("latin-1"))
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        PoolConfig.load(tmp_path / "latin.yaml")
    with pytest.raises(ConfigurationError, match="is no JSON"):
        PoolConfig.load(write(tmp_path, "{", "pool.json"))


def test_an_unknown_name_is_refused():
    with pytest.raises(UnknownCandidateError):
        PoolConfig(candidates=[{"name": "a"}])["b"]


ROUTES = """
routes:
  - {name: code, description: about code, examples: [write code], candidates: [local]}
"""


def test_routes_stand_in_the_file_or_in_one_beside_it(tmp_path):
    (tmp_path / "routes.yaml").write_text(ROUTES + "otherwise: [gpt-4o-2024-08-06]\n")
    beside = PoolConfig.load(write(tmp_path, YAML + "routes: routes.yaml\n"))
    assert beside.routes["code"].candidates == ("local",)
    assert beside.routes.otherwise == ("gpt-4o-2024-08-06",)
    inside = PoolConfig.load(write(tmp_path, YAML + ROUTES))
    assert inside.routes.routes == beside.routes.routes
    assert PoolConfig(**json.loads(beside.model_dump_json())) == beside


@pytest.mark.parametrize(
    ("routes", "words"),
    [
        ("routes: none.yaml", "cannot read"),
        ("routes: [{name: a, description: b, candidates: [nobody]}]", "nobody"),
        ("routes: []", "there is no route"),
        ("routes: {colour: red}", "colour"),
        ("routes: 7", "routes"),
    ],
)
def test_routes_that_do_not_fit_the_pool_are_an_error(tmp_path, routes, words):
    with pytest.raises(ConfigurationError, match=words):
        PoolConfig.load(write(tmp_path, f"{YAML}{routes}\n"))


def test_a_file_says_who_is_local_and_what_only_they_may_see(tmp_path):
    text = YAML.replace("    model: llama3.1:8b\n", "    model: llama3.1:8b\n    local: true\n")
    config = PoolConfig.load(write(tmp_path, text + "privacy: true\n"))
    assert [candidate.local for candidate in config.pool()] == [False, True]
    assert config.privacy == Privacy()
    config = PoolConfig.load(write(tmp_path, text + "privacy: {kinds: [IBAN], refuse: true}\n"))
    assert (config.privacy.kinds, config.privacy.refuse) == (("IBAN",), True)
    assert PoolConfig.load(write(tmp_path, text + "privacy: false\n")).privacy is None
    for wrong in ("7", "[IBAN]", "{kinds: [shoes]}", "{colour: red}", "{local: [nobody]}"):
        with pytest.raises(ConfigurationError):
            PoolConfig.load(write(tmp_path, f"{text}privacy: {wrong}\n"))


prices = st.none() | st.tuples(st.floats(0, 1000), st.floats(0, 1000))
members = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.from_regex(r"[\w./:@ +-]*[\w+]", fullmatch=True).filter(lambda name: name == name.strip()),
            "price": prices,
        },
        optional={
            "base_url": st.sampled_from(["http://localhost:11434/v1", "https://api.example.com/v1"]),
            "capabilities": st.lists(st.sampled_from(["tools", "images"]), unique=True),
            "local": st.booleans(),
            "max_concurrency": st.integers(1, 1024),
            "parameters": st.dictionaries(st.sampled_from(["temperature", "top_p"]), st.floats(0, 2)),
            "profile": st.just("gpt-4o"),
        },
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda each: each["name"],
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(members, st.none() | st.floats(0, 1), st.sampled_from(["yaml", "json"]))
def test_any_pool_file_is_read_in_its_order_with_what_it_says_and_no_setting_is_passed_over(
    tmp_path, members, quality, suffix
):
    told = []
    for each in members:
        price = each.pop("price")
        told.append(each if price is None else {**each, "input_price": price[0], "output_price": price[1]})
    file = {"candidates": told, "quality": quality}
    path, dump = tmp_path / f"pool.{suffix}", yaml.safe_dump if suffix == "yaml" else json.dumps
    path.write_text(dump(file), encoding="utf-8")
    config = PoolConfig.load(path)
    assert config.quality == quality
    assert config.pool().names == tuple(each["name"] for each in told)
    for read, each in zip(config.candidates, told, strict=True):
        said = read.model_dump(mode="json", include=each.keys())
        assert said == (each | {"capabilities": sorted(each["capabilities"])} if "capabilities" in each else each)
    assert PoolConfig(**file) == config

    told[-1]["temprature"] = 1  # a slip of the pen
    path.write_text(dump(file), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="temprature"):
        PoolConfig.load(path)
