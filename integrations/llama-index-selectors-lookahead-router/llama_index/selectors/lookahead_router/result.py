"""What a selection returns: the choices with their scores, or the error that none will do."""

from collections.abc import Mapping

from llama_index.core.base.base_selector import SelectorResult

from lookahead_router.errors import LookaheadRouterError


class LookaheadSelectorResult(SelectorResult):
    """Selected choices, best first, and what they were selected by. Indices count from 0.

    A `RouterQueryEngine` puts it into `response.metadata["selector_result"]`. Holds nothing of the query.
    """

    candidate_names: list[str | None]
    """The candidate of each selection; `None` for a default tool that stands for none."""
    scores: dict[str, float]
    """Predicted score in [0, 1] of every candidate that took part, higher is better."""
    probabilities: dict[str, float] | None = None
    """Calibrated probability of a good answer, in [0, 1]; only where `min_probability` asks for it."""
    is_default: bool = False
    """No candidate was likely enough, and the default tool was taken."""
    predictor: str
    revision: str | None = None


class NoSuitableChoiceError(LookaheadRouterError, ValueError):
    """No choice is likely enough to be answered well, and there is no default tool."""

    def __init__(self, probabilities: Mapping[str, float], min_probability: float) -> None:
        self.probabilities = dict(probabilities)
        self.min_probability = min_probability
        super().__init__(
            f"none of the choices reaches min_probability {min_probability:g}: {best_of(probabilities)}; "
            "lower min_probability, or name a default tool with default="
        )


def best_of(probabilities: Mapping[str, float]) -> str:
    """The likeliest candidate, in words."""
    name = max(probabilities, key=probabilities.__getitem__)
    return f"the likeliest is {name!r} with {probabilities[name]:.3f}"
