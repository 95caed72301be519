"""What commands share: help texts, and a policy by its name."""

from lookahead_router.errors import ConfigurationError
from lookahead_router.policies import BestQuality, CostAware, Policy, Threshold

ROUTER_HELP = "Folder of a saved predictor, or org/name on the Hugging Face Hub; the embedded one if absent."
REVISION_HELP = "Branch, tag or commit of org/name."
POLICY_HELP = "best-quality, cost-aware:SCORE_PER_USD or threshold:PROBABILITY."


def parse_policy(text: str) -> Policy:
    """The policy that a command names.

    Raises:
        ConfigurationError: an unknown name, or a number that is missing, malformed or out of range.
    """
    name, _, value = text.partition(":")
    if text == "best-quality":
        return BestQuality()
    try:
        number = float(value)
    except ValueError:
        number = None
    if number is None or name not in ("cost-aware", "threshold"):
        raise ConfigurationError(f"--policy: expected {POLICY_HELP.rstrip('.')}, got {text!r}")
    return CostAware(number) if name == "cost-aware" else Threshold(number)


def policy_words(policy: BestQuality | CostAware | Threshold) -> str:
    """What `parse_policy` reads as that policy."""
    if isinstance(policy, CostAware):
        return f"cost-aware:{policy.score_per_usd:.6g}"
    return f"threshold:{policy.minimum_probability:.6g}" if isinstance(policy, Threshold) else "best-quality"
