import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from evaluation.made_results import FAILED, NAN, predictor, report, result, without_costs

from lookahead_router.cli._tables import print_comparison
from lookahead_router.evaluation import figures
from lookahead_router.evaluation.compare import Entry, Material, compare
from lookahead_router.evaluation.report import markdown_tables, write_report
from lookahead_router.metrics import Interval

pytest.importorskip("matplotlib")
ODD = "a|b <script>alert(1)</script>\n[x](http://evil.example) `c` $d$ 名前 \x1b[31m"
ODD_LINE = "a|b <script>alert(1)</script> [x](http://evil.example) `c` $d$ 名前 �[31m"
VOID = {"meta", "img"}


class Page(HTMLParser):
    """What a page holds; fails on tags that do not match."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.addresses, self.texts = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset", "action")]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def table(markdown, title):
    """Rows of cells below a heading, without the line of dashes."""
    part = markdown.split(f"### {title}\n", 1)[1].split("\n### ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [rows[0], *rows[2:]]


def odd_report():
    names = (ODD, "_plain_")
    mine = predictor(ODD, candidates=names, sources=names)
    one = result([mine, replace(FAILED, predictor=ODD, error=ODD)], names, names, dataset=ODD, reference=ODD)
    return report(one)


def test_numbers_in_the_tables_are_those_of_the_result():
    text = markdown_tables(result())
    assert table(text, "Predictors") == [
        ["predictor", "average [95 %]", "minus mine [95 %, paired]", "score", "hit rate", "regret", "gap recovered"],
        ["mine", "40.0 [35.0, 45.0]", "–", "0.625", "0.750", "0.125", "0.25"],
        ["other", "55.0 [50.0, 60.0]", "-3.2 [-6.0, 1.5]", "0.625", "0.750", "0.125", "0.25"],
    ]
    assert table(text, "Benchmarks")[:2] == [
        ["predictor", "maths (20)", "poems (40)"],
        ["mine", "40.0 [31.0, 49.0]", "40.0 [31.0, 49.0]"],
    ]
    assert [row[0] for row in table(text, "Benchmarks")[3:]] == ["best single", "best per benchmark, in hindsight"]
    assert table(text, "References")[4] == ["oracle", "100.0 [99.0, 101.0]", "0.500", "1.00"]
    assert table(text, "Candidates")[1:] == [["cheap", "0.0", "0.250", "0.500"], ["dear", "10.0", "0.500", "2.00"]]
    assert table(text, "Shares")[1] == ["mine", "50.0", "50.0"]
    assert table(text, "Against the best single candidate")[1] == ["mine", "37.5", "43.8", "18.8"]
    assert table(text, "Choices")[1] == ["mine", "–", "0.500", "0.042", "1.50", "–", "40.0"]
    assert table(text, "Failed")[1] == ["broken", "no training split to fit it on"]
    assert "1 stand in the training split too, and 2 more nearly so" in text


def test_dollars_saved_stand_beside_what_was_not_reached():
    head, first, second = table(markdown_tables(result()), "Dollars")
    assert head[2] == "score at the best single candidate's USD"
    assert head[4] == "saved at 100 % quality [95 %]"
    assert first[1:5] == ["2.00", "71.0", "0.550", "not reached"]
    assert second[6:] == ["50.0 % [25.0, 75.0]", "12.5 % [0.0, 25.0]"]


def test_what_is_unknown_is_left_out_or_a_dash():
    unknown = Interval(NAN, NAN, NAN)
    mine = replace(predictor(), average=unknown, score=NAN, regret=None, against_best_single=(), calibration=None)
    text = markdown_tables(without_costs(result([mine], leakage=None, best_single=None)))
    assert table(text, "Predictors")[1][1] == "–"
    assert "### Dollars" not in text
    assert "### Against" not in text
    assert "### Failed" not in text
    assert "Not looked for." in text
    assert "nan" not in text


def test_names_mean_nothing_to_markdown():
    text = markdown_tables(odd_report().datasets[0])
    rows = table(text, "Predictors")
    assert [len(row) for row in rows] == [6, 6]
    assert html.unescape(re.sub(r"\\(.)", r"\1", rows[1][0])) == ODD_LINE
    assert "](http" not in text.replace(r"\](", "")
    assert "<script" not in text
    assert r"\_plain\_" in text


def test_the_folder_holds_the_report_and_every_figure_it_shows(tmp_path):
    write_report(report(result()), tmp_path)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert len(shown) == 6
    assert sorted(shown) == sorted(f"figures/{path.name}" for path in (tmp_path / "figures").iterdir())
    assert "Policy BestQuality()" in text
    assert "1,000 resamples" in text
    assert "lookahead-router 0.1.0" in text
    assert "fingerprint 0123456789abcdef" in text
    assert markdown_tables(result()).splitlines()[-1] in text


def test_the_json_is_the_report_and_strict(tmp_path):
    found = report(result(), odd_report().datasets[0])
    write_report(found, tmp_path)

    def refuse(constant):
        raise AssertionError(constant)

    record = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert record == json.loads(json.dumps(found.to_dict()))
    assert record["datasets"][0]["predictors"][0]["model_recall"] is None


def test_the_page_is_whole_and_refers_to_nothing_outside(tmp_path):
    write_report(odd_report(), tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in page.tags
    assert "img" in page.tags
    assert page.addresses
    assert all(address.startswith("data:image/svg+xml;base64,") for address in page.addresses)
    assert "url(" not in text
    assert "@import" not in text
    assert ODD_LINE in page.texts


def test_both_pages_have_the_same_cells(tmp_path):
    write_report(report(result()), tmp_path)
    texts = Page((tmp_path / "report.html").read_text(encoding="utf-8")).texts
    for title in ("Predictors", "Benchmarks", "Dollars", "Choices", "Failed"):
        cells = [cell for row in table(markdown_tables(result()), title) for cell in row]
        assert not [cell for cell in cells if cell not in texts]


def test_datasets_alike_in_name_keep_their_own_figures(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "FIGURES", {"average": figures.FIGURES["average"]})
    names = ["a/b", "a b", "A-B", "../..", "", "a-b-2"]
    write_report(report(*(result([predictor()], dataset=name, sources=("only",)) for name in names)), tmp_path)
    found = sorted(path.name for path in (tmp_path / "figures").glob("*-average.png"))
    assert found == sorted(
        f"{name}-average.png" for name in ("a-b", "a-b-2", "a-b-3", "dataset", "dataset-2", "a-b-2-2")
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures", "report.html", "report.json", "report.md"]


def test_a_report_replaces_the_one_before_and_leaves_other_files_alone(tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "mine.png").write_bytes(b"mine")
    write_report(report(result()), tmp_path)
    write_report(report(result(dataset="second")), tmp_path)
    assert "## second" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert (tmp_path / "figures" / "mine.png").read_bytes() == b"mine"


def test_where_all_failed_the_reasons_are_reported(tmp_path):
    write_report(report(result([FAILED])), tmp_path)
    assert "no training split to fit it on" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert not (tmp_path / "figures").exists()


def test_one_candidate_and_one_benchmark_are_enough(tmp_path):
    write_report(report(result(candidates=("only",), sources=("",))), tmp_path)
    assert "| predictor | – (20) |" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_a_real_comparison_is_reported(tmp_path, dataset, capsys):
    material = Material("toy", "test", *(dataset.filter(split=split) for split in ("test", "train", "validation")))
    entries = [Entry("best-single", "best-single"), Entry("random", "random"), Entry("rule", "rule")]
    found = compare(entries, [material], n_resamples=50)
    write_report(found, tmp_path)
    assert [row[0] for row in table((tmp_path / "report.md").read_text(encoding="utf-8"), "Predictors")[1:]] == [
        "best-single", "random", "rule"
    ]  # fmt: skip
    assert Page((tmp_path / "report.html").read_text(encoding="utf-8")).tags.count("img") >= 4
    print_comparison(found)
    assert "best-single" in capsys.readouterr().out


def test_the_terminal_shows_names_as_they_are(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    print_comparison(odd_report())
    shown = capsys.readouterr().out
    assert ODD_LINE in shown
    assert "\x1b" not in shown
