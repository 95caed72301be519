"""How often the graders by reference agree with the scores that benchmarks published for the same answers.

    python research/own_pool/graders.py DATA

`DATA` holds `mmlupro12.parquet` and `lookahead7.parquet`. The files have no references. Here a prompt's reference is
what most of its answers end with that were published as right; prompts without such an answer, and answers that the
files cut short, are left out. For answers published as wrong nothing of this is circular.
"""

import re
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

from lookahead_router.live.references import choice, number, number_of

CUT = 700  # characters that the file of MMLU-Pro keeps
LETTER = re.compile(r"answer is \(?([A-J])\)?", re.IGNORECASE)


def last_letter(response: str) -> str | None:
    found = LETTER.findall(response)
    return found[-1].upper() if found else None


def last_number(response: str) -> float | None:
    found = number_of(response)
    return max(found) if found else None


def measure(rows, end_of, grade, is_whole) -> None:
    counts = Counter()
    examples = []
    for row in rows:
        answers = [(o["response"], o["score"]) for o in row["outcomes"] if o["response"] and o["score"] in (0.0, 1.0)]
        answers = [(response, score) for response, score in answers if is_whole(response)]
        ends = Counter(end for response, score in answers if score == 1 and (end := end_of(response)) is not None)
        if not ends:
            continue
        reference = ends.most_common(1)[0][0]
        for response, score in answers:
            ours = grade(response, reference)
            counts[score, ours] += 1
            if ours != score and len(examples) < 400:
                examples.append((score, ours, reference, response[-160:]))
    n, same = sum(counts.values()), sum(count for (score, ours), count in counts.items() if score == ours)
    right, wrong = ({ours: counts[score, ours] for ours in (0.0, 1.0)} for score in (1.0, 0.0))
    print(
        f"{n:,} answers: {same / n:.2%} agree; published right {sum(right.values()):,}, graded wrong {right[0.0]:,}; "
        f"published wrong {sum(wrong.values()):,}, graded right {wrong[1.0]:,}"
    )
    if "--show" in sys.argv:
        for each in examples[:: max(1, len(examples) // 25)]:
            print("   ", each)


def main() -> None:
    data = Path(sys.argv[1])
    rows = pq.read_table(data / "mmlupro12.parquet").to_pylist()
    print("choice, MMLU-Pro: ", end="")
    measure(rows, last_letter, choice, lambda response: len(response) < CUT)
    rows = pq.read_table(data / "lookahead7.parquet", filters=[("source", "=", "GSM8k")]).to_pylist()
    print("number, GSM8k: ", end="")
    measure(rows, last_number, number, lambda response: True)


if __name__ == "__main__":
    main()
