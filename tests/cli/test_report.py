"""`report` on the command line."""

import json


def test_choices_dollars_and_drift_are_told(cli, tmp_path):
    decisions, scored = tmp_path / "decisions.jsonl", tmp_path / "scored.jsonl"
    record = {"candidate": "small", "expected_usd": {"small": 0.1, "strong": 1.0}, "probabilities": {"small": 0.75}}
    decisions.write_text((json.dumps(record) + "\n") * 4)
    lines = [{"prompt": f"p{k}", "candidate": name, "score": 1.0, "response": "x"}
             for k in range(3) for name in ("small", "strong")]  # fmt: skip
    lines[0]["score"] = 0.5
    scored.write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, out, err = cli("report", decisions, scored)
    assert (code, err) == (0, "")
    for words in ("4 decisions: 4 routed", "90 % less than strong", "takes 30 decisions", "Nothing calls for"):
        assert words in out
    record = json.loads(cli("report", decisions, scored, "--json")[1])
    assert (record["collect_again"], record["saved"]) == (False, 0.9)
