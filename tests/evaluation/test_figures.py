from dataclasses import replace

import pytest
from evaluation.made_results import FAILED, NAN, predictor, result, without_costs

from lookahead_router.evaluation import figures
from lookahead_router.metrics import Interval

pytest.importorskip("matplotlib")


def texts(axes):
    return [text.get_text() for text in axes.texts]


def tick_names(axes):
    return [text.get_text() for text in axes.get_yticklabels()]


def test_the_average_has_a_bar_for_every_predictor_and_reference_best_on_top():
    axes = figures.average(result()).axes[0]
    assert tick_names(axes) == [
        "random", "best single", "best per benchmark, in hindsight", "mine", "other", "oracle"
    ]  # fmt: skip
    assert [bar.get_width() for bar in axes.patches] == [0.0, 30.0, 35.0, 40.0, 55.0, 100.0]
    assert texts(axes) == ["0.0", "30.0", "35.0", "40.0", "55.0", "100.0"]


def test_an_interval_that_does_not_hold_its_value_is_drawn_all_the_same():
    one = replace(predictor(), average=Interval(5.0, 6.0, 7.0))
    assert figures.render(figures.average(result([one])), "png").startswith(b"\x89PNG")


def test_each_benchmark_has_a_panel_with_a_dot_for_every_predictor():
    panels = figures.benchmarks(result(sources=tuple("abcde"))).axes
    visible = [axes for axes in panels if axes.get_visible()]
    assert [axes.get_title() for axes in visible] == ["a (20)", "b (40)", "c (60)", "d (80)", "e (100)"]
    assert all(len(axes.collections[1].get_offsets()) == 2 for axes in visible)


def test_a_single_benchmark_has_no_figure_of_its_own():
    assert figures.benchmarks(result(sources=("only",))) is None


def test_costs_show_frontiers_policies_candidates_random_and_oracle():
    axes = figures.cost_quality(result()).axes[0]
    assert len(axes.lines) == 2 * 2 + 2 + 2
    assert sorted(texts(axes)) == ["cheap", "dear", "oracle", "random"]
    frontier = axes.lines[0]
    assert frontier.get_xdata() == pytest.approx([1.0, 2.0])
    assert frontier.get_ydata() == pytest.approx([40.0, 60.0])


def test_without_costs_there_is_no_cost_figure():
    assert figures.cost_quality(without_costs(result())) is None


def test_dollars_of_nothing_are_on_a_linear_axis():
    free = result()
    free = replace(free, candidates=(replace(free.candidates[0], mean_usd=0.0), *free.candidates[1:]))
    assert figures.cost_quality(free).axes[0].get_xscale() == "linear"


def test_dollars_far_apart_are_on_a_logarithmic_axis():
    assert figures.cost_quality(result(candidates=tuple("abcd"))).axes[0].get_xscale() == "log"


def test_shares_of_many_candidates_are_gathered():
    names = tuple("abcdefghij")
    figure = figures.shares(result(candidates=names))
    assert [axes.get_title() for axes in figure.axes] == ["mine", "other"]
    assert tick_names(figure.axes[0]) == ["all", "maths", "poems"]
    assert len(figure.axes[0].patches) == 8 * 3
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [*"abcdefg", "3 others"]
    assert sum(bar.get_width() for bar in figure.axes[0].patches) == pytest.approx(300)


def test_shares_are_drawn_of_the_predictors_asked_for():
    assert [axes.get_title() for axes in figures.shares(result(), ["other"]).axes] == ["other"]


def test_calibration_tells_the_error_of_each_curve():
    figure = figures.calibration(result())
    diagonal, *curves = figure.axes[0].lines
    assert list(diagonal.get_xdata()) == [0, 1]
    assert [list(curve.get_ydata()) for curve in curves] == [[0.25, 0.5, 0.75]] * 2
    assert figure.legends[0].get_texts()[0].get_text() == "mine, expected calibration error 0.042"


def test_uncalibrated_predictors_have_no_calibration_figure():
    assert figures.calibration(result([predictor(calibration=None)])) is None


def test_wins_ties_and_losses_are_bars_with_their_numbers_of_prompts():
    figure = figures.win_tie_loss(result())
    assert len(figure.axes) == 2
    assert [bar.get_height() for bar in figure.axes[0].patches] == [0.0, 50.0, 100.0, 25.0, 0.0, 25.0]
    assert texts(figure.axes[0])[-2:] == ["10", "30"]


@pytest.mark.parametrize("name", figures.FIGURES)
def test_there_is_nothing_to_draw_where_all_failed(name):
    assert figures.FIGURES[name][1](result([FAILED])) is None


@pytest.mark.parametrize("name", figures.FIGURES)
def test_names_are_drawn_as_they_are(name):
    odd = ("_private", "a $x$ | <script>\nx", "名前 \u202e")
    one = predictor(odd[0], candidates=odd, sources=odd)
    drawn = result([one, predictor(odd[1], candidates=odd, sources=odd)], candidates=odd, sources=odd)
    figure = figures.FIGURES[name][1](replace(drawn, reference=odd[0]))
    assert figures.render(figure, "svg").startswith(b"<?xml")


@pytest.mark.parametrize("name", figures.FIGURES)
def test_unknown_figures_do_not_stop_a_drawing(name):
    unknown = Interval(NAN, NAN, NAN)
    one = replace(predictor(), average=unknown, by_source={"maths": unknown, "poems": unknown})
    figure = figures.FIGURES[name][1](result([one, predictor("other")]))
    assert figures.render(figure, "png").startswith(b"\x89PNG")


def test_drawing_changes_no_setting_of_the_process():
    import matplotlib

    before = list(dict.items(matplotlib.rcParams))  # to ask for the backend by its name would choose one
    figures.render(figures.average(result()), "png")
    assert list(dict.items(matplotlib.rcParams)) == before
