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
    code, _, err = cli(*arguments)
    assert (code, "exists; go on with collect" in err) == (2, True)
    record = json.loads(cli(*arguments[:-1], tmp_path / "again.jsonl", "--json")[1])
    assert record["n_sampled"] == 20
