"""`sample` on the command line."""

import json

from predictors.open_folder import write_open_folder


def test_on_the_command_line_it_tells_what_it_covered(cli, tmp_path):
    log = [f"{('one', 'two', 'three')[row % 3]} {row} {row * row}" for row in range(300)]
    folder = tmp_path / "toy"
    write_open_folder(folder)
    (tmp_path / "traffic.jsonl").write_text("".join(json.dumps({"input": each}) + "\n" for each in log))
    output = tmp_path / "prompts.jsonl"
    arguments = ("sample", tmp_path / "traffic.jsonl", "--n", 20, "--router", folder, "--output", output)
    code, out, err = cli(*arguments)
    assert (code, err) == (0, "")
    for words in ("log in %", "20 prompts of 300 different ones in 300 records", "Next: lookahead-router collect"):
        assert words in out
    assert len(output.read_text().splitlines()) == 20
    assert "no 20 different" not in out
    code, _, err = cli(*arguments)
    assert (code, "exists; go on with collect" in err) == (2, True)
    record = json.loads(cli(*arguments[:-1], tmp_path / "again.jsonl", "--json")[1])
    assert record["n_sampled"] == 20


def test_a_log_of_one_prompt_a_thousand_times_gives_it_once_and_says_so(cli, tmp_path):
    folder = tmp_path / "toy"
    write_open_folder(folder)
    (tmp_path / "log.txt").write_text("one two three\n" * 1000)
    code, out, _ = cli("sample", tmp_path / "log.txt", "--router", folder, "--output", tmp_path / "p.jsonl")
    assert code == 0
    assert "The log holds no 200 different prompts" in out
    assert len((tmp_path / "p.jsonl").read_text().splitlines()) == 1
