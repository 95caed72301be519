"""LiteLLM: of the deployments that its Router or Proxy has for a request, the ones that will answer it best."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from lookahead_router.dispatch import Dispatcher
from lookahead_router.errors import ConfigurationError
from lookahead_router.extras import require
from lookahead_router.prompts import read_request
from lookahead_router.threads import compute_threads

require("litellm", "litellm")
from litellm.integrations.custom_logger import CustomLogger  # noqa: E402 - after the message that says what to install

RECORD_KEY = "lookahead_router"
"""Key of a call's metadata under which LiteLLM's logs find the record."""


class LookaheadRouting(CustomLogger):
    """A callback of LiteLLM that leaves of one model group the deployments of the candidate that is to answer.

    Retries, cooldowns, limits and the choice among several deployments of one candidate stay LiteLLM's. Where it asks
    again for the same call, the next candidate of the ranking comes. Works where calls are asynchronous:
    `Router.acompletion`, and the Proxy.

    Example:
        ```python no-run
        litellm.callbacks = [LookaheadRouting(["gpt-4o-2024-08-06", "llama-3.1-8b-instruct"], quality=0.95)]
        router = litellm.Router(
            model_list=[
                {"model_name": "auto", "litellm_params": {"model": "openai/gpt-4o-2024-08-06"}},
                {"model_name": "auto", "litellm_params": {"model": "ollama/llama-3.1-8b-instruct"}},
            ]
        )
        await router.acompletion("auto", messages=[{"role": "user", "content": "hi"}])
        ```
    """

    def __init__(self, candidates: Iterable[str], *, group: str = "auto", router: Any = None, **options: Any) -> None:
        """Loads the router.

        Args:
            candidates: names. A deployment belongs to the candidate that its `model_info` names in `candidate`, or
                else to the one that its model is called, without the provider before the slash.
            group: the model group that is routed; others are left alone.
            router: a `Router`, a folder, a Hub id, or `None` for the embedded predictor.
            options: `quality`, `policy`, `profiles`, `default` and what else `Dispatcher` takes.

        Raises:
            ConfigurationError, UnknownCandidateError: a value out of its domain, or a name that the router lacks.
            CheckpointError, HubError: nothing to load at the router's location.
        """
        super().__init__()
        names = list(candidates)
        if not isinstance(group, str) or not group:
            raise ConfigurationError(f"group is the name of a model group, got {group!r}")
        self.group = group
        options = {"default": names[0] if names else None, **options, "fallbacks": "next-best"}
        self.dispatcher = Dispatcher(router, names, **options)

    async def async_filter_deployments(
        self,
        model: str,
        healthy_deployments: list,
        messages: list | None,
        request_kwargs: dict | None = None,
        parent_otel_span: Any = None,
    ) -> list[dict]:
        """The deployments of the candidate whose turn it is; of other model groups all.

        Raises:
            ConfigurationError: a deployment of the group that belongs to no candidate.
        """
        if model != self.group or not healthy_deployments:
            return healthy_deployments
        by_name: dict[str, list[dict]] = {}
        for deployment in healthy_deployments:
            by_name.setdefault(self._candidate(deployment), []).append(deployment)
        request = read_request(messages or "", needs=_needs(request_kwargs or {}), allow_empty=True)
        loop = asyncio.get_running_loop()
        attempts = await loop.run_in_executor(
            compute_threads(),
            lambda: self.dispatcher.plan(request),
        )
        record = attempts.record
        del record["attempts"]  # who failed is LiteLLM's to know
        order = dict.fromkeys((attempts.name, *record.get("ranking", ()), *by_name))
        metadata = (request_kwargs or {}).get("metadata")
        before = metadata.get(RECORD_KEY) if isinstance(metadata, dict) else None
        given = list(before.get("given", ())) if isinstance(before, dict) else []
        left = [name for name in order if name in by_name]
        name = next((each for each in left if each not in given), left[0])
        if isinstance(metadata, dict):  # the same one in every attempt of a call, and part of LiteLLM's logs
            metadata[RECORD_KEY] = {**record, "candidate": name, "given": [*given, name]}
        return by_name[name]

    def _candidate(self, deployment: Mapping[str, Any]) -> str:
        info, parameters = deployment.get("model_info") or {}, deployment.get("litellm_params") or {}
        model = str(parameters.get("model", ""))
        for name in (info.get("candidate"), model.partition("/")[2], model, model.rpartition("/")[2]):
            if name in self.dispatcher.candidates:
                return name
        raise ConfigurationError(
            f"the deployment {model!r} of the group {self.group!r} belongs to none of the candidates "
            f"{', '.join(self.dispatcher.candidates)}; name it in model_info.candidate"
        )


def _needs(request: Mapping[str, Any]) -> list[str]:
    form = request.get("response_format")
    needs = ["tools"] if request.get("tools") or request.get("functions") else []
    is_structured = isinstance(form, type) or (
        isinstance(form, Mapping) and form.get("type") in ("json_schema", "json_object")
    )
    return [*needs, "structured output"] if is_structured else needs
