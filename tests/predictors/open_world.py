"""A world with known abilities: prompts of known demands, candidates that answer by them, and a small catalogue."""

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers

from lookahead_router.metrics import sigmoid
from lookahead_router.predictors.catalogue import FACTS, Catalogue, CatalogueEntry, Match
from lookahead_router.predictors.open_pool import Foreseer, Member, OpenPoolPredictor
from lookahead_router.predictors.profiles import Foreseen, Population, Profile
from lookahead_router.predictors.tokenization import PromptTokenizer
from lookahead_router.types import Candidate

N_DEMANDS, WIDTH, N_COMPONENTS = 3, 8, 2

ENTRIES = [
    CatalogueEntry("gpt-4o-2024-08-06", "gpt-4o", "2024-08-06", None, False, None, 2.5, 10.0, (("mmlu-pro", 4000),)),
    CatalogueEntry("gpt-4o-2024-11-20", "gpt-4o", "2024-11-20", None, False, None, 2.5, 10.0, (("bfcl", 700),)),
    CatalogueEntry("gpt-5", "gpt-5", "2025-08-07", None, False, None, 1.25, 10.0, (("pm", 600),)),
    CatalogueEntry("llama-3.1-8b-instruct", "llama-3.1", "2024-07-23", 8.0, True, None, 0.1, 0.2, (("gsm", 9000),)),
    CatalogueEntry("llama-3.1-8b", "llama-3.1", "2024-07-23", 8.0, True, None, None, None, (("mmlu-pro", 500),)),
    CatalogueEntry("claude-3-5-sonnet-20241022", "claude", "2024-10-22", None, False, None, 3.0, 15.0, (("gsm", 900),)),
    CatalogueEntry("claude-sonnet-4", "claude", "2025-05-22", None, False, None, 3.0, 15.0, (("gsm", 900),)),
    CatalogueEntry(
        "claude-sonnet-4:thinking", "claude", "2025-05-22", None, False, "thinking", 3.0, 15.0, (("gsm", 800),)
    ),
]


def make_population(**changes) -> Population:
    generator = np.random.default_rng(0)
    anchors = generator.normal(size=(16, WIDTH))
    settings = {
        "covariance": np.diag([1.0, 0.5, 0.5, 0.5]),
        "regression": np.zeros((len(FACTS), N_DEMANDS + 1)),
        "lengths": np.zeros(2),
        "lengths_covariance": np.diag([0.3, 0.1]),
        "length_variance": 0.25,
        "verbosities": (-3.0, 3.0),
        "components": generator.normal(size=(WIDTH, N_COMPONENTS)),
        "center": np.zeros(WIDTH),
        "anchors": anchors / np.linalg.norm(anchors, axis=1, keepdims=True),
        "reach": (-2.0, -1.5),
    }
    return Population(**{**settings, **changes})


def make_foreseen(n: int, seed: int = 0) -> Foreseen:
    generator = np.random.default_rng(seed)
    embedding = generator.normal(size=(n, WIDTH))
    return Foreseen(
        demands=generator.normal(size=(n, N_DEMANDS)),
        difficulty=generator.normal(size=n),
        log_tokens=5 + generator.normal(size=n) / 4,
        verbosity=generator.normal(size=n),
        embedding=embedding / np.linalg.norm(embedding, axis=1, keepdims=True),
    )


def answer(foreseen: Foreseen, abilities: np.ndarray, seed: int = 0) -> np.ndarray:
    """`(n, K)` answers, 1 where good, of candidates with `(K, R + 1)` abilities."""
    logits = abilities[:, 0] + foreseen.demands @ abilities[:, 1:].T - foreseen.difficulty[:, None]
    return (np.random.default_rng(seed).random(logits.shape) < sigmoid(logits)).astype(float)


class ReadsNumbers:
    """A backend whose demands follow from the tokens alone."""

    name, max_batch_size, n_demands = "reads-numbers", 4, N_DEMANDS

    def foresee(self, prompt_ids, prompt_mask):
        rows = [make_foreseen(1, int((ids * mask).sum())) for ids, mask in zip(prompt_ids, prompt_mask, strict=True)]
        return np.stack(
            [
                np.hstack([each.demands[0], each.difficulty, each.log_tokens, each.verbosity, each.embedding[0]])
                for each in rows
            ]
        )


def make_catalogue(population: Population) -> Catalogue:
    generator = np.random.default_rng(1)
    profiles = [
        Profile(
            generator.normal(size=N_DEMANDS + 1),
            0.02 * population.covariance,
            np.array([0.1, 0.0]),
            entry.n_answers,
            is_known=True,
        )
        for entry in ENTRIES
    ]
    return Catalogue(ENTRIES, profiles)


def make_words() -> Tokenizer:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "one", "two", "three", "four", "five", "six", "seven", "eight"]
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return inner


def make_tokenizer() -> PromptTokenizer:
    return PromptTokenizer(make_words(), max_prompt_tokens=16, pad_token_id=0, prefix=(2,), suffix=(3,))


def make_predictor(tokenizer=None, names=("gpt-4o-2024-08-06", "llama-3.1-8b-instruct")) -> OpenPoolPredictor:
    tokenizer = make_tokenizer() if tokenizer is None else tokenizer
    population = make_population()
    catalogue = make_catalogue(population)
    members = []
    for name in names:
        entry = catalogue.match(name).entry
        candidate = Candidate(
            name=name,
            input_usd_per_million_tokens=entry.input_usd_per_million_tokens,
            output_usd_per_million_tokens=entry.output_usd_per_million_tokens,
        )
        members.append(Member(candidate, catalogue.profile(entry), Match(name, entry, "exact")))
    return OpenPoolPredictor(
        foresee=Foreseer(tokenizer, ReadsNumbers()),
        population=population,
        catalogue=catalogue,
        members=members,
        name="open-toy",
        base_revision="0123456789ab",
    )
