"""`audit` on the command line."""

import json

import pytest

POOL = "gpt-4o,llama-3.1-8b-instruct"


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "own.txt"
    path.write_text("".join(f"What is {row} plus {row}?\n" for row in range(5)))
    return path


def test_tables_reports_and_gates_that_hold(cli, suite, tmp_path):
    arguments = ("audit", "--candidates", POOL, "--suite", suite, "--report", tmp_path / "out")
    code, out, err = cli(*arguments, "--fail-if", "collapse<0.4")
    assert (code, err) == (0, "")
    for words in ("5 prompts of 5 questions", "collapse<0.4", "passed", "boilerplate", "upgrades in %", "report.html"):
        assert words in out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.html", "report.json", "report.md"}
    assert "What is 1 plus" not in out + (tmp_path / "out" / "report.md").read_text()


def test_a_gate_that_fails_has_an_exit_code_of_its_own_after_the_report(cli, suite):
    code, out, err = cli("audit", "--candidates", POOL, "--suite", suite, "--json", "--fail-if", "collapse>0.4")
    assert (code, err[:31]) == (10, "gate failed: collapse>0.4, foun")
    assert json.loads(out)["figures"]["collapse"]["value"] >= 0.5


def test_local_candidates_bring_personal_data_into_tables_files_and_gates(cli, suite, tmp_path):
    arguments = ("audit", "--candidates", POOL, "--suite", suite, "--local", "llama-3.1-8b-instruct")
    folder = tmp_path / "out"
    code, out, err = cli(
        *arguments, "--report", folder, "--fail-if", "private-leaks>0.05", "--fail-if", "name-leaks>0.5"
    )
    assert (code, err[:29]) == (10, "gate failed: name-leaks>0.5, ")
    assert "Local: llama-3.1-8b-instruct" in " ".join(out.split())
    for name in ("report.md", "report.html"):
        text = (folder / name).read_text(encoding="utf-8")
        assert "Personal data and secrets" in text
        assert "False alarms in" in text
    found = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert found["private"]["local"] == ["llama-3.1-8b-instruct"]
    assert found["figures"]["private-leaks"]["value"] <= 0.05


@pytest.mark.parametrize(("options", "code", "words"), [
    (("--fail-if", "private-leaks>0.5"), 2, "private-leaks could not be measured: it takes local candidates"),
    (("--local", "nobody"), 2, "nobody"),
    (("--fail-if", "languages>0.5"), 2, "languages could not be measured"),
    (("--fail-if", "flop>0.5"), 2, "a gate reads FIGURE>LIMIT"),
    (("--candidates", "gpt-4o"), 2, "one candidate alone"),
    (("--suite", "absent.txt"), 4, "no such file"),
    (("--quality", "2"), 2, "in [0, 1]"),
])  # fmt: skip
def test_what_cannot_be_audited_is_said_in_a_line(cli, suite, options, code, words):
    found, _, err = cli("audit", "--candidates", POOL, "--suite", suite, *options)
    assert found == code
    assert words in err
    assert err.count("\n") == 1
