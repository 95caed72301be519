"""Personal data and secrets: what is found of them in a request, and who may see it then."""

from lookahead_router.privacy.guard import Privacy, presidio
from lookahead_router.privacy.kinds import ALL_KINDS, KINDS
from lookahead_router.privacy.rules import Finding, find_private

__all__ = ["ALL_KINDS", "KINDS", "Finding", "Privacy", "find_private", "presidio"]
