"""Published answers replayed through a server as if the models were asked: the commands, their time and their dollars.

    python research/own_pool/replay.py DATA [--prompts 200] [--delay 0.5]

`DATA` holds `lookahead7.parquet`. Questions of GSM8k go to its five models by `collect`, and what they answered is
graded by `judge` and fitted by `fit`. The reference is what most of the answers that were published as right end with.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from servers.openai_server import OpenAIServer, Reply, text_of

from lookahead_router.live import read_answers
from lookahead_router.live.references import number_of

PRICES = {
    "Yi-1.5-34B-Chat": 0.8, "internlm2_5-20b-chat": 0.4, "Phi-3-medium-4k-instruct": 0.3, "Llama-3.1-8B-Instruct": 0.1,
    "Qwen2.5-Coder-7B-Instruct": 0.1,
}  # fmt: skip
"""Dollars per million tokens in and out: about what hosts ask for models of such sizes."""


def questions(data: Path, n_prompts: int) -> tuple[list[dict], dict, dict]:
    """Prompts with references, responses and published scores by candidate and prompt."""
    rows = pq.read_table(data / "lookahead7.parquet", filters=[("source", "=", "GSM8k")]).to_pylist()
    random.Random(0).shuffle(rows)
    prompts, responses, scores = [], {}, {}
    for row in rows:
        ends = Counter(
            max(found) for o in row["outcomes"] if o["score"] == 1 and (found := number_of(o["response"])) is not None
        )
        if ends and len(prompts) < n_prompts:
            prompts.append({"prompt": row["prompt"], "reference": ends.most_common(1)[0][0], "source": "GSM8k"})
            for outcome in row["outcomes"]:
                responses[outcome["candidate"], row["prompt"]] = outcome["response"]
                scores[outcome["candidate"], row["prompt"]] = outcome["score"]
    return prompts, responses, scores


def run(*arguments) -> float:
    start = time.perf_counter()
    command = [sys.executable, "-m", "lookahead_router", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    print(f"$ lookahead-router {arguments[0]}: {seconds:.1f} s, exit code {done.returncode}")
    print("\n".join(f"    {line}" for line in (done.stdout + done.stderr).splitlines()))
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--delay", type=float, default=0.5)
    options = parser.parse_args()
    prompts, responses, published = questions(options.data, options.prompts)

    def script(request: dict) -> Reply:
        prompt = text_of(request["messages"][-1])
        content = responses[request["model"], prompt]
        usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": len(content) // 4}
        return Reply(content, delay_seconds=options.delay, usage=usage)

    with OpenAIServer(script) as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pool = [
            {"name": model, "base_url": server.url, "input_price": price, "output_price": price}
            for model, price in PRICES.items()
        ]
        (folder / "pool.json").write_text(json.dumps({"candidates": pool}))
        (folder / "prompts.jsonl").write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts))
        answers, scored = folder / "answers.jsonl", folder / "scored.jsonl"
        collecting = ("collect", folder / "prompts.jsonl", "--pool", folder / "pool.json", "--output", answers)
        run(*collecting, "--dry-run")
        run(*collecting, "--budget-usd", 1)
        run("judge", answers, "--judge", "number", "--output", scored)
        run("fit", scored, "--pool", folder / "pool.json", "--output", folder / "router", "--quality", 0.95)
        found = read_answers(scored)
        same = sum(answer.score == published[answer.candidate, answer.prompt] for answer in found)
        print(f"{len(found)} answers scored, {same / len(found):.2%} as published")


if __name__ == "__main__":
    main()
