"""One prompt and what its candidates made of it."""

from dataclasses import dataclass

from lookahead_router.prompts import Prompt


@dataclass(frozen=True)
class Outcome:
    """One candidate meets one prompt; every field may be missing."""

    response: str | None = None
    score: float | None = None
    """Observed, in [0, 1], higher is better; `None` where not judged."""
    cost_usd: float | None = None
    output_tokens: int | None = None


@dataclass(frozen=True)
class RoutingExample:
    """A prompt with one outcome per candidate name."""

    prompt: Prompt
    outcomes: dict[str, Outcome]
    id: str = ""
    source: str = ""
    """The benchmark or corpus it comes from."""
    split: str = ""
    """`train`, `validation`, `test`, or a split of one's own."""
    context: tuple[str, ...] = ()
    """Passages that the candidates were given with the prompt; the outcomes are those with them."""
