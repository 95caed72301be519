"""Which route a request belongs to: the protocol, and the matcher that goes by embeddings.

Embeddings are seen through the spread of examples around their route's mean, shrunk towards a sphere by how few they
are: with one text a route this is the cosine to that text, with many it is linear discriminant analysis.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np

from lookahead_router.errors import ConfigurationError, DataError, PredictionError
from lookahead_router.predictors.base import prompt_texts
from lookahead_router.predictors.plain_prompts import PLAIN_PROMPTS
from lookahead_router.prompts import Prompt, Request
from lookahead_router.routes.definition import Match, Routes

N_FOLDS = 10
"""Folds in which examples are held out to see how similar a request of a route is to it."""
MAX_GROUPS = 20
"""Groups of routes that are left out in turn, to see how similar a request of none is."""
MIN_LABELLED = 10
"""Labelled requests of a kind, of some route or of none, from which on they say how similar that kind is."""
FAR_SHARE = 0.75
"""Share of plain prompts taken, those least like the routes: the rest may belong to one."""


@dataclass(frozen=True)
class Labelled:
    """A request, and the route that it belongs to."""

    prompt: Prompt
    route: str | None
    """`None` for none of them."""


@runtime_checkable
class TextEmbedder(Protocol):
    """What routes are fitted on."""

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors `(n_texts, H)`, row `i` of text `i` alone."""
        ...


@runtime_checkable
class RouteMatcher(Protocol):
    """What a router asks of routes. Safe under threads."""

    routes: Routes
    asks_elsewhere: bool
    """Whether somebody reads the requests who may not see what is private."""

    def match(self, requests: Sequence[Request]) -> list[Match]:
        """What each request belongs to; row `i` depends on request `i` alone."""
        ...

    def over(self, routes: Routes) -> Self:
        """This matcher for the same routes over candidates of other names."""
        ...


@dataclass(frozen=True, eq=False)
class Discriminant:
    """Unit directions of routes, in a space where the examples of a route lie around their mean as in a sphere."""

    whitening: np.ndarray
    """`(H, H)`"""
    centres: np.ndarray
    """`(R, H)` unit vectors."""
    cosines: np.ndarray
    """`(R, R)` of the routes' mean embeddings, as they are."""

    @classmethod
    def fit(cls, vectors: np.ndarray, owner: np.ndarray, n_routes: int) -> "Discriminant":
        """The space that examples span.

        Args:
            vectors: `(n, H)` unit embeddings.
            owner: `(n,)` the route of each; every route has one at least.
            n_routes: R.
        """
        means = np.stack([vectors[owner == route].mean(axis=0) for route in range(n_routes)])
        width, freedom = vectors.shape[1], len(vectors) - n_routes
        whitening = np.eye(width)
        if freedom > 0:
            spread, directions = np.linalg.svd(vectors - means[owner], full_matrices=False)[1:]
            variances = spread**2 / freedom
            share = freedom / (freedom + width)  # of what the examples say; the rest is a sphere as large
            sphere = (1 - share) * variances.sum() / width
            if sphere > 0:
                scale = (share * variances + sphere) ** -0.5 * sphere**0.5 - 1.0
                whitening += (directions.T * scale) @ directions
        return cls(whitening, _unit(means @ whitening), _unit(means) @ _unit(means).T)

    def similarities(self, vectors: np.ndarray) -> np.ndarray:
        """`(n, R)` cosines in [-1, 1] of embeddings `(n, H)`."""
        return np.clip(_unit(vectors @ self.whitening) @ self.centres.T, -1.0, 1.0)


@dataclass(frozen=True, eq=False)
class EmbeddedRoutes:
    """Routes told apart by embeddings: the most similar one, if it is similar enough."""

    routes: Routes
    embedder: TextEmbedder
    discriminant: Discriminant
    threshold: float
    """Similarity from which on a request belongs to its most similar route."""
    held_out: np.ndarray
    """`(n, R)` similarities of the examples, each from a fit without it."""
    owner: np.ndarray
    """`(n,)` the route of each."""
    asks_elsewhere: ClassVar[bool] = False

    @classmethod
    def fit(cls, routes: Routes, embedder: TextEmbedder, labelled: Iterable[Labelled] = ()) -> "EmbeddedRoutes":
        """See `Routes.fit`."""
        if isinstance(embedder, type) or not callable(getattr(embedder, "embed", None)):
            raise ConfigurationError(f"an embedder has embed(texts), got {type(embedder).__name__}")
        without = [route.name for route in routes.routes if not route.examples]
        if without:
            raise ConfigurationError(
                f"no example of {', '.join(without)}: embeddings tell routes apart by examples; write some, five at "
                "least, or have a chat model tell them apart by their descriptions: routes.using(complete)"
            )
        labelled = list(labelled)
        labels = _label_columns(labelled, routes)
        texts = [(row, text) for row, each in enumerate(routes.routes) for text in (each.description, *each.examples)]
        is_example = np.array([place > 0 for each in routes.routes for place in range(1 + len(each.examples))])
        asked = prompt_texts([each.prompt for each in labelled])
        vectors = _embedded(embedder, [*(text for _, text in texts), *asked, *PLAIN_PROMPTS])
        owner = np.array([row for row, _ in texts])
        known, told, plain = np.split(vectors, [len(texts), len(texts) + len(asked)])
        found = Discriminant.fit(known, owner, len(routes))
        held_out = _held_out(known, owner, is_example, len(routes))
        threshold = routes.threshold
        if threshold is None:
            inside, near = held_out.max(axis=1), _left_out(known, owner, is_example, len(routes))
            far = np.sort(found.similarities(plain).max(axis=1))[: int(FAR_SHARE * len(plain))]
            outside = [each for each in (near, far) if len(each)]
            told = found.similarities(told).max(axis=1) if len(told) else np.zeros(0)
            if (labels >= 0).sum() >= MIN_LABELLED:
                inside = told[labels >= 0]
            if (labels < 0).sum() >= MIN_LABELLED:
                outside = [told[labels < 0]]
            threshold = float(np.mean([_crossing(each, inside) for each in outside]))
        return cls(routes, embedder, found, threshold, held_out, owner[is_example])

    def match(self, requests: Sequence[Request]) -> list[Match]:
        """The most similar route of each request, if it is similar enough.

        Raises:
            PredictionError: the embedder gives something else than embeddings.
        """
        if not requests:
            return []
        similarities = self.similarities([request.text for request in requests])
        best = similarities.argmax(axis=1)
        return [
            Match(self.routes.names[k] if row[k] >= self.threshold else None, float(row[k]))
            for row, k in zip(similarities, best, strict=True)
        ]

    def similarities(self, texts: Sequence[str]) -> np.ndarray:
        """`(n_texts, R)` in [-1, 1]."""
        return self.discriminant.similarities(_embedded(self.embedder, texts))

    def over(self, routes: Routes) -> "EmbeddedRoutes":
        """This matcher for the same routes over candidates of other names."""
        return EmbeddedRoutes(routes, self.embedder, self.discriminant, self.threshold, self.held_out, self.owner)


def _label_columns(labelled: Sequence[Labelled], routes: Routes) -> np.ndarray:
    """`(n,)` places of the labels among the routes, -1 for none."""
    names: Mapping[str | None, int] = {None: -1, **{name: row for row, name in enumerate(routes.names)}}
    strays = [each.route for each in labelled if each.route not in names]
    if strays:
        raise DataError(f"{strays[0]!r} is no route; there are {', '.join(routes.names)}, and null for none")
    return np.array([names[each.route] for each in labelled], dtype=int)


def _embedded(embedder: Any, texts: Sequence[str]) -> np.ndarray:
    vectors = np.asarray(embedder.embed(list(texts)), dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
        raise PredictionError(f"the embedder must give a finite row a text, got the shape {vectors.shape}")
    return _unit(vectors)


def _held_out(vectors: np.ndarray, owner: np.ndarray, is_example: np.ndarray, n_routes: int) -> np.ndarray:
    """`(n, R)` similarities of the examples, each by a fit without its fold; descriptions are in every fit."""
    fold = np.full(len(vectors), -1)
    for route in range(n_routes):
        rows = np.flatnonzero((owner == route) & is_example)
        fold[rows] = np.arange(len(rows)) % N_FOLDS
    found = np.zeros((len(vectors), n_routes))
    for each in range(fold.max() + 1):
        out = fold == each
        found[out] = Discriminant.fit(vectors[~out], owner[~out], n_routes).similarities(vectors[out])
    return found[is_example]


def _left_out(vectors: np.ndarray, owner: np.ndarray, is_example: np.ndarray, n_routes: int) -> np.ndarray:
    """`(n,)` similarities of the examples to the most similar route, in fits that know nothing of their own."""
    if n_routes < 2:
        return np.zeros(0)
    found = []
    for group in np.array_split(np.arange(n_routes), min(n_routes, MAX_GROUPS)):
        out = np.isin(owner, group)
        _, left = np.unique(owner[~out], return_inverse=True)
        fitted = Discriminant.fit(vectors[~out], left, n_routes - len(group))
        found.append(fitted.similarities(vectors[out & is_example]).max(axis=1))
    return np.concatenate(found)


def _crossing(outside: np.ndarray, inside: np.ndarray) -> float:
    """Where as many standard deviations lie above the mean of those outside as below that of those inside."""
    low, high, below, above = outside.mean(), inside.mean(), outside.std(), inside.std()
    if below + above == 0:
        return float((low + high) / 2)
    return float(np.clip((low * above + high * below) / (below + above), -1.0, 1.0))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
