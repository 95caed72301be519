"""From a log to a router, on public answers that a server on loopback replays as if the models were asked.

    python benchmarks/own_pool.py routerbench3.parquet --n 200 --candidates 5 --log 2000 --output own-pool.json

Times `sample`, `collect`, `judge` and `fit`, as commands in processes of their own. The file is a routing dataset with
the responses of a pool, such as any of docs/reference/data.md. Answers cost nothing here; the dollars are those of the
file. Scores are the file's, given by a judge of our own: a
function that looks them up.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from servers.openai_server import OpenAIServer, Reply, text_of

from lookahead_router import RoutingDataset


def replay(dataset: RoutingDataset):
    """What a model said to a prompt, with an id by which its score is found again."""
    rows = {prompt: row for row, prompt in enumerate(dataset.prompts)}

    def script(request: dict) -> Reply:
        row = rows[text_of(request["messages"][-1]).strip()]
        response = dataset.responses[row, dataset.pool.index(request["model"])] or "no answer"
        return Reply(response, usage={"prompt_tokens": 100, "completion_tokens": max(len(response) // 4, 1)})

    return script


def run(*arguments: str) -> tuple[float, str]:
    start = time.perf_counter()
    command = [sys.executable, "-m", "lookahead_router", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return time.perf_counter() - start, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--candidates", type=int, default=5)
    parser.add_argument("--log", type=int, default=2000, help="prompts in the log")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    dataset = RoutingDataset.from_file(options.data)
    generator = np.random.default_rng(options.seed)
    names = generator.choice(dataset.pool.names, options.candidates, replace=False).tolist()
    rows = generator.permutation(len(dataset))[: options.log]
    dataset = dataset.with_candidates(names).select(rows)
    seconds = {}
    with tempfile.TemporaryDirectory() as folder, OpenAIServer(replay(dataset)) as server:
        os.chdir(folder)
        lines = (json.dumps({"input": prompt}) for prompt in dataset.prompts)
        Path("traffic.jsonl").write_text("\n".join(lines) + "\n")
        usd = dataset.call_costs()
        pool = [
            {"name": name, "base_url": server.url, "input_price": 0.0, "output_price": 1.0}
            for name in dataset.pool.names
        ]
        Path("pool.json").write_text(json.dumps({"candidates": pool}))
        seconds["sample"], _ = run("sample", "traffic.jsonl", "--n", options.n, "--output", "prompts.jsonl")
        seconds["collect"], told = run("collect", "prompts.jsonl", "--pool", "pool.json", "--output", "answers.jsonl")
        start = time.perf_counter()
        score_answers(dataset)
        seconds["judge"] = time.perf_counter() - start
        seconds["fit"], told = run("fit", "scored.jsonl", "--output", "my-router")
        print(told)
        seconds["route"], _ = run("route", "--router", "my-router", "What is 2 + 2?")
    print("\n".join(f"{step}: {taken:.1f} s" for step, taken in seconds.items()))
    print(f"mean dollars a call: {dict(zip(dataset.pool.names, np.round(usd, 6).tolist(), strict=True))}")
    if options.output is not None:
        options.output.write_text(json.dumps(seconds))


def score_answers(dataset: RoutingDataset) -> None:
    """`judge` with a function of one's own, in Python: the scores, and the dollars, that the file has."""
    from dataclasses import replace

    from lookahead_router.live import judge, read_answers

    rows = {prompt: row for row, prompt in enumerate(dataset.prompts)}

    def place(answer) -> tuple[int, int]:
        return rows[answer.prompt.strip()], dataset.pool.index(answer.candidate)

    answers = [
        replace(each, cost_usd=None if np.isnan(usd := dataset.costs_usd[place(each)]) else float(usd))
        for each in read_answers("answers.jsonl")
    ]
    judge(answers, lambda answer: float(dataset.scores[place(answer)]), output="scored.jsonl")


if __name__ == "__main__":
    main()
