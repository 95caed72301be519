"""Candidates that training never saw, onboarded from n scored prompts: profiles beside what else could be fitted.

    python research/any_pool/study.py DATA FEATURES EMBEDDINGS --held-out HELD.json --output study.json [--draws 20]

DATA holds openpool_outcomes.parquet, openpool_prompts.parquet and openpool_models.json. FEATURES is what the study's
network foresees of the prompts and of everyday ones (npz, from features.py); EMBEDDINGS are those of the frozen
encoder (npz: prompt_ids, embedding), which the fitted lines read. Both in any order.

A draw is a pool of 3 to 8 held-out candidates and a mixture of 3 to 6 kinds of graded sources, or one source alone
(--within). n prompts of the train split are answered by the whole pool; figures are of test prompts.
"""

import argparse
import json
import time
import warnings
from collections import defaultdict
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import yaml
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

from lookahead_router import metrics
from lookahead_router.predictors.catalogue import CatalogueEntry, Spelling, facts_of_entry
from lookahead_router.predictors.open_pool import OUTPUTS, folds_to_tell
from lookahead_router.predictors.profiles import Foreseen, Profile
from lookahead_router.training.open_pool import UNRELATED, join_expected
from lookahead_router.training.population import CODER, PublicAnswers, fit_population, with_code_ability

COUNTS = (0, 10, 20, 50, 100, 200, 500)
MAX_TEST = 500
SHARES = tuple(round(0.8 + 0.025 * step, 3) for step in range(9))
"""Of the best single candidate's score, at which dollars are told."""
RECIPE = Path(__file__).parents[2] / "recipes" / "Llama-lookahead-any-pool-minilm.yaml"
FITTED = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))["data"]["sources"]
"""Sources that the network was fitted on."""
MIXED = "two candidates at random, in hindsight"
STUDY_ONLY = ("alpaca_eval", "swe-bench-verified", "faithbench")


class World:
    """Prompts, outcomes and what is known of candidates, in arrays over one order of prompts."""

    def __init__(
        self, data: Path, features: Path, embeddings: Path, held_out: set[str], kinds: tuple[str, ...] = ()
    ) -> None:
        prompts = _columns(data / "openpool_prompts.parquet", ["prompt_id", "prompt", "split", "kind"])
        columns = ["prompt_id", "model", "score", "output_tokens", "source"]
        outcomes = _columns(data / "openpool_outcomes.parquet", columns)
        about = json.loads((data / "openpool_models.json").read_text())
        self.ids, self.prompts = prompts["prompt_id"], prompts["prompt"]
        self.row = {each: i for i, each in enumerate(self.ids)}
        self.split = prompts["split"].astype(str)
        self.kind = prompts["kind"].astype(str)
        self.length = np.array([len(text) for text in prompts["prompt"]]) / 4.0
        self.foreseen = self.read(features)
        given = np.load(features, allow_pickle=False)
        self.everyday = Foreseen(**{name: given[f"expected_{name}"].astype(np.float64) for name in OUTPUTS})
        self.expected = given["expected"]
        given = np.load(embeddings, allow_pickle=False)
        self.embedding = given["embedding"][self._order(given["prompt_ids"])].astype(np.float64)
        self.names = sorted(set(outcomes["model"].tolist()))
        column = {name: k for k, name in enumerate(self.names)}
        self.prompt = np.array([self.row[each] for each in outcomes["prompt_id"]])
        self.candidate = np.array([column[each] for each in outcomes["model"]])
        self.score = outcomes["score"].astype(np.float64)
        self.tokens = outcomes["output_tokens"].astype(np.float64)
        self.source = outcomes["source"].astype(str)
        self.is_held = np.array([name in held_out for name in self.names])
        self.prices = np.array([
            [np.nan if about[n][k] is None else about[n][k] for k in ("usd_per_m_in", "usd_per_m_out")]
            for n in self.names
        ])  # fmt: skip
        self.prices = _with_guesses(self.prices, self.names, about)
        self.entries = [_entry(name, about[name]) for name in self.names]
        self.facts = np.stack([facts_of_entry(entry) for entry in self.entries])
        self.answers: dict[tuple[int, str], dict[int, int]] = defaultdict(dict)
        graded = self.kind[self.prompt] == "correct"
        for at in np.flatnonzero(graded):
            kind = kind_of_source(self.source[at])
            if not kinds or kind in kinds:
                self.answers[self.candidate[at], kind][self.prompt[at]] = at

    def read(self, features: Path) -> Foreseen:
        """What a network foresees of the prompts; the last demand is whether code is asked for."""
        given = np.load(features, allow_pickle=False)
        order = self._order(given["prompt_ids"])
        foreseen = Foreseen(**{name: given[name][order].astype(np.float64) for name in OUTPUTS})
        return replace(foreseen, demands=np.column_stack([foreseen.demands, given["code"][order]]))

    def _order(self, ids: np.ndarray) -> np.ndarray:
        place = {str(each): i for i, each in enumerate(ids)}
        return np.array([place[each] for each in self.ids])

    def population(self, drop_sources: tuple[str, ...] = (), n_candidates: int | None = None, seed: int = 0):
        """Population and profiles of all candidates that are not held out, from all but the test split."""
        use = (self.split[self.prompt] != "test") & ~self.is_held[self.candidate]
        use &= ~np.array([any(str(s).startswith(d) for d in (*STUDY_ONLY, *drop_sources)) for s in self.source])
        counts = np.bincount(self.candidate[use], minlength=len(self.names))
        known = np.flatnonzero(counts >= 50)
        if n_candidates is not None:
            known = np.sort(np.random.default_rng(seed).permutation(known)[:n_candidates])
        use &= np.isin(self.candidate, known)
        sources, index = np.unique(self.source[use].astype(str), return_inverse=True)
        kinds = dict(zip(self.source[use].astype(str), self.kind[self.prompt[use]], strict=True))
        answers = PublicAnswers(
            self.prompt[use], np.searchsorted(known, self.candidate[use]), self.score[use], index,
            np.array([kinds[s] != "correct" or not any(fnmatch(s, each) for each in FITTED) for s in sources]),
            np.where(self.tokens[use] > 0, self.tokens[use], np.nan),
            (self.split != "train")[self.prompt[use]],
        )  # fmt: skip
        told = replace(self.foreseen, demands=self.foreseen.demands[:, :-1])
        foreseen, answers = join_expected(told, answers, self.everyday, self.expected)
        names = [self.names[k] for k in known]
        facts = self.facts[known]
        population, profiles = fit_population(
            foreseen,
            answers,
            np.where(np.arange(facts.shape[1]) == CODER, 0.0, facts),
            names,
            families=[self.entries[k].family if self.entries[k].family not in UNRELATED else "" for k in known],
            models=[" ".join(Spelling.of(self.names[k]).bare) for k in known],
            n_rounds=6,
        )
        population, profiles = with_code_ability(population, profiles, facts[:, CODER] > 0)
        return population, {int(k): profile for k, profile in zip(known, profiles, strict=True)}


def _with_guesses(prices: np.ndarray, names: list[str], about: dict) -> np.ndarray:
    """Prices; where none is listed, the median of the family's, else two cents a billion parameters and million tokens.

    Only the study's dollars rest on such guesses.
    """
    found = prices.copy()
    families = np.array([about[name]["family"] or "" for name in names])
    for k, name in enumerate(names):
        if np.isnan(prices[k]).any():
            family = (families == families[k]) & ~np.isnan(prices).any(axis=1)
            size = about[name]["params_b"]
            guess = 0.02 * size if size else np.nan
            found[k] = np.median(prices[family], axis=0) if family.any() and families[k] else guess
    return found


def kind_of_source(source: str) -> str:
    """`zeroeval/gsm` as it is; the many subjects of another harness as one."""
    return source if source.startswith("zeroeval/") else source.partition("/")[0]


def _columns(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    table = pq.read_table(path, columns=names)
    return {name: table.column(name).to_numpy(zero_copy_only=False) for name in names}


def _entry(name: str, about: dict) -> CatalogueEntry:
    return CatalogueEntry(
        name, about["family"] or "", str(about["release"] or ""), about["params_b"], about["open"],
        about["setting"] or Spelling.of(name).setting or None, about["usd_per_m_in"], about["usd_per_m_out"],
    )  # fmt: skip


def draw(world: World, candidates: np.ndarray, generator: np.random.Generator, within: bool):
    """A pool and its prompts: columns, train rows, test rows, and matrices of scores and tokens over all prompts."""
    kinds = sorted({kind for _, kind in world.answers})
    graded = np.array([sum(len(world.answers.get((k, kind), ())) for kind in kinds) for k in candidates])
    choices = candidates[graded >= 600]
    if not within:  # mixtures are about dollars too
        choices = np.array([k for k in choices if not np.isnan(world.prices[k]).any()])
    for _ in range(5000):
        pool = generator.choice(choices, int(generator.integers(3, 9)), replace=False)
        common = {
            kind: set.intersection(*(set(world.answers.get((k, kind), ())) for k in pool)) for kind in kinds
        }  # fmt: skip
        there = [kind for kind in kinds if len(common[kind]) >= 100]
        if len(there) < (1 if within else 2):
            continue
        n_kinds = 1 if within else min(len(there), int(generator.integers(3, 7)))
        chosen = generator.choice(there, n_kinds, replace=False)
        prompts = []
        for kind in chosen:  # kinds weigh alike, as far as they reach
            rows = np.array(sorted(common[kind]))
            prompts.append(generator.permutation(rows)[:1200])
        rows = np.concatenate(prompts)
        train, test = rows[world.split[rows] == "train"], rows[world.split[rows] == "test"]
        if len(train) < 500 and not within:
            continue
        if len(train) < 100 or len(test) < 60:
            continue
        kind_of = {row: kind for kind in chosen for row in common[kind]}
        return pool, generator.permutation(train), generator.permutation(test)[:MAX_TEST], kind_of
    raise SystemExit("no pool with enough common prompts was found; hold out more candidates")


def matrices(world: World, pool: np.ndarray, rows: np.ndarray, kind_of: dict) -> tuple[np.ndarray, np.ndarray]:
    at = np.array([[world.answers[k, kind_of[row]][row] for k in pool] for row in rows])
    tokens = world.tokens[at]
    usd = (
        world.length[rows][:, None] * world.prices[pool, 0] + np.nan_to_num(tokens, nan=300.0) * world.prices[pool, 1]
    ) / 1e6
    return world.score[at], usd


def logistic(x: np.ndarray, y: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Logistic regression per candidate, its strength by cross-validation over all of them."""
    strengths = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)

    def fit(rows: np.ndarray, column: np.ndarray, strength: float, on: np.ndarray) -> np.ndarray:
        good = np.clip(column, 0, 1)
        if good.std() == 0:
            return np.full(len(on), (good.sum() + 0.5) / (len(good) + 1))
        model = LogisticRegression(C=strength, max_iter=300)
        weights = np.concatenate([good, 1 - good])
        label = np.repeat([1, 0], len(good))
        kept = weights > 0
        model.fit(np.concatenate([rows, rows])[kept], label[kept], sample_weight=weights[kept])
        return model.predict_proba(on)[:, 1]

    folds = list(KFold(min(4, len(x)), shuffle=True, random_state=0).split(x))
    losses = [
        np.mean([log_loss(fit(x[a], c[a], s, x[b]), c[b]) for a, b in folds for c in y.T]) for s in strengths
    ]  # fmt: skip
    best = strengths[int(np.argmin(losses))]
    return np.stack([fit(x, column, best, test) for column in y.T], axis=1)


def neighbours(x: np.ndarray, y: np.ndarray, test: np.ndarray) -> np.ndarray:
    k = min(40, len(x))
    nearest = np.argpartition(-(test @ x.T), k - 1, axis=1)[:, :k]
    return (y[nearest].sum(axis=1) + y.mean(axis=0)) / (k + 1)


def clusters(x: np.ndarray, y: np.ndarray, test: np.ndarray, model: KMeans, prior: float = 24.0) -> np.ndarray:
    """UniRoute's k-means: the map is learnt on public prompts, a candidate's means on its own answers."""
    own, theirs = model.predict(x), model.predict(test)
    member = np.eye(model.n_clusters)[own]
    means = (member.T @ y + prior * y.mean(axis=0)) / (member.sum(axis=0)[:, None] + prior)
    return means[theirs]


def ridge_on_known(known: np.ndarray, y: np.ndarray, test: np.ndarray) -> np.ndarray:
    """A new candidate's scores by ridge on what is predicted for the known ones."""
    center, mean = known.mean(axis=0), y.mean(axis=0)
    z = known - center
    weights = np.linalg.solve(z.T @ z + 0.02 * len(z) * np.eye(z.shape[1]), z.T @ (y - mean))
    return np.clip((test - center) @ weights + mean, 0.01, 0.99)


def log_loss(p: np.ndarray, y: np.ndarray) -> float:
    p = np.clip(p, 1e-3, 1 - 1e-3)
    return float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean())


def figures(p: np.ndarray, y: np.ndarray, usd: np.ndarray, single: int) -> dict[str, float]:
    """Of predicted probabilities `(n, K)` on test prompts."""
    chosen = metrics.chosen_scores(y, p.argmax(axis=1))
    found = {
        "log_loss": log_loss(p, y),
        "ece": float(metrics.expected_calibration_error(p.ravel(), y.ravel())),
        "normalized": float(metrics.normalized_score(chosen, y)),
        "score": float(chosen.mean()),
    }
    if np.isfinite(usd).all():
        price = usd.mean(axis=0)
        weights = np.concatenate([[0.0], np.geomspace(1e-3, 1e3, 80) / max(np.ptp(price), 1e-12)])
        choices = [(p - w * price).argmax(axis=1) for w in weights]
        spent = np.array([metrics.mean_cost(usd, c) for c in choices])
        gained = np.array([metrics.chosen_scores(y, c).mean() for c in choices])
        for share in SHARES:
            reached = gained >= share * y[:, single].mean() - 1e-12
            least = min(1.0, spent[reached].min() / usd[:, single].mean()) if reached.any() else 1.0
            found[f"spent_{share:.3f}"] = float(least)
        found |= {f"saved_{share:.2f}": 1 - found[f"spent_{share:.3f}"] for share in (0.95, 1.0)}
        found["area"] = float(metrics.area_under_frontier(spent, gained, price.min(), price.max()))
    return found


def mixed(y: np.ndarray, usd: np.ndarray, single: int) -> dict[str, float]:
    """Dollars of two candidates mixed at random, the two that turn out best: needs no router, in hindsight."""
    price, quality = usd.mean(axis=0), y.mean(axis=0)
    least = {share: metrics.cost_at_quality(price, quality, share * quality[single]) for share in SHARES}
    return {f"spent_{share:.3f}": min(1.0, cost / price[single]) for share, cost in least.items()}


def one_draw(world: World, population, known: dict[int, Profile], kmeans: KMeans, seed: int, options) -> list[dict]:
    generator = np.random.default_rng(seed)
    candidates = np.array(sorted(known)) if options.known else np.flatnonzero(world.is_held)
    pool, train, test, kind_of = draw(world, candidates, generator, options.within)
    y_test, usd_test = matrices(world, pool, test, kind_of)
    single = int(y_test.mean(axis=0).argmax())
    strangers = [known[k] if options.known else population.start(world.facts[k]) for k in pool]
    others = list(known.values())[:: max(1, len(known) // 40)]
    foreseen_test = world.foreseen.select(test)
    rows = []

    def add(line: str, n: int, p: np.ndarray) -> None:
        rows.append({"draw": seed, "n": n, "line": line, **figures(p, y_test, usd_test, single)})

    full = population.predict(foreseen_test, others)[0]
    for n in [n for n in COUNTS if n <= len(train)]:
        picked = train[:n]
        if n == 0:
            add("profile", 0, population.predict(foreseen_test, strangers)[0])
            continue
        y, _ = matrices(world, pool, picked, kind_of)
        foreseen, folds = world.foreseen.select(picked), folds_to_tell(world.prompts[picked])
        x, x_test = world.embedding[picked], world.embedding[test]
        given = {"foreseen": foreseen, "profiles": strangers, "scores": y, "folds": folds}
        if not options.known:  # whose profiles rest on these very answers
            add("profile", n, population.predict(foreseen_test, population.onboard(**given))[0])
        if options.ablations:
            blind = replace(population, component_variance=1e-9)
            add("without components", n, blind.predict(foreseen_test, blind.onboard(**given))[0])
            alone = [population.onboard(foreseen, [one], y[:, [k]], folds=folds)[0] for k, one in enumerate(strangers)]
            add("without shared drift", n, population.predict(foreseen_test, alone)[0])
        if options.profiles_only:
            continue
        mean = np.tile((y.sum(axis=0) + 0.5) / (n + 1), (len(test), 1))
        add("mean of the answers", n, mean)
        add("kNN", n, neighbours(x, y, x_test))
        add("clusters", n, clusters(x, y, x_test, kmeans))
        if n >= 20:
            add("logistic regression", n, logistic(x, y, x_test))
        if not options.known:
            add("ridge on known", n, ridge_on_known(population.predict(foreseen, others)[0], y, full))
    rows.append({"draw": seed, "n": -1, "line": MIXED, **mixed(y_test, usd_test, single)})
    oracle = {"score": float(y_test.max(axis=1).mean()), "normalized": 100.0}
    rows.append({"draw": seed, "n": -1, "line": "oracle", **oracle})
    rows.append({"draw": seed, "n": -1, "line": "best single, in hindsight", "score": float(y_test[:, single].mean())})
    return rows


def mean_of(rows: list[dict], figure: str, line: str, n: int) -> str:
    """Mean over the draws with its standard error; a dash where there is none."""
    values = [row[figure] for row in rows if row["n"] == n and row["line"] == line and figure in row]
    spread = np.std(values) / max(len(values) - 1, 1) ** 0.5 if values else 0
    return f"{np.nanmean(values):.3f} ± {spread:.3f}" if values else "–"


def table(rows: list[dict], figure: str) -> str:
    """A figure by the number of scored prompts."""
    lines = list(dict.fromkeys(row["line"] for row in rows if row["n"] >= 0))
    text = ["| n | " + " | ".join(lines) + " |", "|--:|" + "--:|" * len(lines)]
    text += [f"| {n} | " + " | ".join(mean_of(rows, figure, line, n) for line in lines) + " |" for n in COUNTS]
    return "\n".join(text)


def curves(rows: list[dict]) -> str:
    """Dollars for shares of the best single candidate's quality: profiles, and the others at their 100 answers."""
    lines = dict.fromkeys(row["line"] for row in rows if row["n"] >= 0)
    columns = [("profile", 0), ("profile", 20), *((line, 100) for line in lines), (MIXED, -1)]
    text = ["| quality | " + " | ".join(line if n < 0 else f"{line}, n = {n}" for line, n in columns) + " |",
            "|--:|" + "--:|" * len(columns)]  # fmt: skip
    for share in SHARES:
        cells = [mean_of(rows, f"spent_{share:.3f}", line, n) for line, n in columns]
        text.append(f"| {100 * share:g} % | " + " | ".join(cells) + " |")
    return "\n".join(text)


def summary(rows: list[dict]) -> str:
    """Tables of all figures."""
    figures = ("log_loss", "ece", "normalized", "saved_0.95", "saved_1.00", "area")
    return "\n".join([*(f"\n{figure}\n\n{table(rows, figure)}" for figure in figures), "\nspent\n", curves(rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("features", type=Path)
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("--held-out", type=Path, required=True, help="JSON list of candidates that training never saw")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--within", action="store_true", help="within one source")
    parser.add_argument("--known", action="store_true", help="pools of the population's candidates, by name alone")
    parser.add_argument("--ablations", action="store_true")
    parser.add_argument("--profiles-only", action="store_true", help="leave out what profiles are compared with")
    parser.add_argument("--kinds", default="", help="kinds of sources that mixtures are made of, comma-separated")
    parser.add_argument("--drop-sources", default="", help="sources left out of the population, comma-separated")
    parser.add_argument("--fitted-on", type=Path, help="features of the population's prompts, where another network's")
    parser.add_argument("--population", type=int, help="number of population candidates")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    start = time.time()
    held_out = set(json.loads(options.held_out.read_text()))
    kinds = tuple(filter(None, options.kinds.split(",")))
    world = World(options.data, options.fitted_on or options.features, options.embeddings, held_out, kinds)
    dropped = tuple(filter(None, options.drop_sources.split(",")))
    population, known = world.population(dropped, options.population)
    print(
        f"{len(known)} population candidates, {world.is_held.sum()} held out, {time.time() - start:.0f} s", flush=True
    )
    if options.fitted_on is not None:
        world.foreseen = world.read(options.features)
    public = np.flatnonzero(world.split == "train")
    kmeans = KMeans(32, n_init=1, random_state=0).fit(world.embedding[public[::3]])
    rows = []
    for seed in range(options.draws):
        rows += one_draw(world, population, known, kmeans, seed, options)
        print(f"draw {seed}, {time.time() - start:.0f} s", flush=True)
        options.output.write_text(json.dumps(rows))
    print(summary(rows))


if __name__ == "__main__":
    main()
