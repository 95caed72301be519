"""What the rules of `Privacy` find: of made-up personal data in six languages, and of prompts as people write them.

    python benchmarks/personal_data.py tests/data/everyday.jsonl [FILE.parquet:COLUMN ...]

The made-up data come from `tests/privacy/made.py`. Of a file the share of prompts with a finding is shown, by kind.
"""

import json
import sys
import time
from collections import Counter
from pathlib import Path

from lookahead_router.privacy import find_private

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from privacy.made import LANGUAGES, MAKERS, prompts

N = 200
"""Of each kind in each language."""


def read(argument: str) -> list[str]:
    path, _, column = argument.partition(":")
    if path.endswith(".parquet"):
        import pyarrow.parquet as pq

        return pq.read_table(path, columns=[column or "prompt"]).column(0).to_pylist()
    return [json.loads(line)["prompt"] for line in Path(path).read_text(encoding="utf-8").splitlines()]


def main() -> None:
    found = Counter()
    for kind, language, text in prompts(N, seed=1):
        found[kind, language] += any(each.kind == kind for each in find_private(text))
    print(f"| found, in % | {' | '.join(LANGUAGES)} |\n|---|{'--:|' * len(LANGUAGES)}")
    for kind in MAKERS:
        print(f"| {kind} | {' | '.join(f'{100 * found[kind, language] / N:.1f}' for language in LANGUAGES)} |")
    for argument in sys.argv[1:]:
        texts, start = read(argument), time.perf_counter()
        kinds = [{each.kind for each in find_private(text)} for text in texts]
        micros = (time.perf_counter() - start) / len(texts) * 1e6
        counts = ", ".join(f"{n} {kind}" for kind, n in Counter(kind for each in kinds for kind in each).most_common())
        share = sum(map(bool, kinds)) / len(texts)
        print(
            f"{argument}: {len(texts):,} prompts, {100 * share:.2f} % with a finding ({counts}), {micros:.0f} µs each"
        )


if __name__ == "__main__":
    main()
