"""What `config.yaml` names as a callback; LiteLLM's proxy looks for it beside that file."""

from lookahead_router.integrations.litellm import LookaheadRouting

routing = LookaheadRouting(["gpt-4o-2024-08-06", "gpt-4o-mini-2024-07-18"], group="auto", quality=0.95)
