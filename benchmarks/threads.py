"""What threads are worth: one decision and a batch of the embedded predictor for any pool, with 1 to 4 of them.

    python benchmarks/threads.py --threads 1,2,3,4

All counts in turn, in one process. A decision follows a pause, as in a server that is not busy: that is when threads
which wait busily cost something. A batch goes through as many passes beside each other as there are threads.
"""

import argparse
import os
import statistics
import time

from lookahead_router import Router
from lookahead_router.threads import allowed_cores

PAUSE_SECONDS = 0.01
N_DECISIONS, N_PROMPTS = 10, 64
SENTENCE = "Design a limiter of rates for an API of many nodes."


def prompts_of(router: Router, n_tokens: int) -> list[str]:
    """Prompts of so many tokens, all different."""
    encode, text = router.predictor.foresee.tokenizer.encode, SENTENCE
    while len(encode([f"{text} 10"])[0][0]) < n_tokens + 2:
        text += " And why?"
    return [f"{text} {10 + k}" for k in range(N_PROMPTS)]


def measured(router: Router, prompts: list[str]) -> dict[str, float]:
    """Milliseconds of a decision by the clock and of the processor, and prompts a second in a batch."""
    clock, processor = [], []
    for prompt in prompts[:N_DECISIONS]:
        time.sleep(PAUSE_SECONDS)
        start, used = time.perf_counter(), time.process_time()
        router.route(prompt)
        clock.append(1e3 * (time.perf_counter() - start))
        processor.append(1e3 * (time.process_time() - used))
    start, used = time.perf_counter(), time.process_time()
    router.route_batch(prompts)
    seconds = time.perf_counter() - start
    return {
        "p50, ms": statistics.median(clock),
        "processor, ms": statistics.mean(processor),
        "prompts/s in a batch": len(prompts) / seconds,
        "processor of one in a batch, ms": 1e3 * (time.process_time() - used) / len(prompts),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", default="1,2,3,4", help="counts, comma-separated")
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    counts = [int(count) for count in arguments.threads.split(",")]
    names = ["gpt-4o", "gpt-4o-mini", "llama-3.1-8b-instruct", "llama-3.1-70b-instruct", "claude-3-opus-20240229"]
    routers = {count: Router.from_pretrained(candidates=names, n_threads=count) for count in counts}
    prompts = prompts_of(routers[counts[0]], arguments.tokens)
    found: dict[int, list[dict[str, float]]] = {count: [] for count in counts}
    for number in range(arguments.rounds + 1):  # the first warms up
        for count, router in routers.items():
            figures = measured(router, prompts)
            if number:
                found[count].append(figures)
    print(f"{arguments.tokens} tokens, {allowed_cores()} cores allowed, load {os.getloadavg()[0]:.1f}\n")
    columns = list(found[counts[0]][0])
    print(f"| threads | {' | '.join(columns)} |\n|---|{'--:|' * len(columns)}")
    for count, rounds in found.items():
        cells = []
        for column in columns:
            values = [figures[column] for figures in rounds]
            cells.append(f"{statistics.median(values):.1f} [{min(values):.1f}, {max(values):.1f}]")
        print(f"| {count} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
