"""Routes a few prompts with the embedded predictor, among your own deployments of its candidates."""

from pathlib import Path

from lookahead_router import Router

router = Router.from_pretrained(
    aliases={
        "Qwen2.5-Coder-7B-Instruct": "local/qwen-coder",
        "internlm2_5-20b-chat": "local/internlm",
        "Yi-1.5-34B-Chat": "local/yi",
    }
).restrict_to(["local/qwen-coder", "local/internlm", "local/yi"])

prompts = (Path(__file__).parent / "prompts.txt").read_text(encoding="utf-8").splitlines()
for prompt, decision in zip(prompts, router.route_batch(prompts), strict=True):
    print(f"{decision.name:18} {decision.scores[decision.name]:.2f}  (before {decision.runner_up})  {prompt[:60]}")
