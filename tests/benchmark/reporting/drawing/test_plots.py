from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color, to_hex
from matplotlib.figure import Figure

from sb3_course.benchmark.reporting.drawing import plots
from sb3_course.benchmark.reporting.drawing.styles import DASHES, Style, styles
from sb3_course.benchmark.statistics.analysis import analyze
from tests.benchmark import made_up


def axes_and_styles(n):
    return Figure().add_subplot(), styles([f"Algorithm_{chr(97 + i)}" for i in range(n)])


def test_a_curve_has_a_line_over_a_band_between_its_bounds():
    axes, of = axes_and_styles(1)
    (name,) = of
    table = pd.DataFrame({"algorithm": name, "step": [0, 10, 20], "point": [1.0, 2.0, 4.0]})
    plots.curves(axes, table.assign(low=table["point"] - 1, high=table["point"] + 2), of, "step")
    (line,), (band,) = axes.lines, axes.collections
    assert line.get_xydata().tolist() == [[0, 1], [10, 2], [20, 4]]
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.tolist()}
    assert corners == {(0, 0), (10, 1), (20, 3), (20, 6), (10, 4), (0, 3)}
    assert same_color(line.get_color(), of[name].color)
    assert same_color(band.get_facecolor()[0][:3], of[name].color)
    assert band.get_zorder() < line.get_zorder()
    assert axes.get_xlim() == (0, 20)


def test_the_first_algorithm_is_drawn_on_top_whatever_the_order_of_rows():
    axes, of = axes_and_styles(3)
    rows = [(name, x, 0.0, 0.0, 1.0) for name in reversed(of) for x in (0, 1)]
    table = pd.DataFrame(rows, columns=["algorithm", "step", "point", "low", "high"])
    plots.curves(axes, table, of, "step")
    from_the_top = sorted(axes.lines, key=lambda line: -line.get_zorder())
    assert [line.get_color() for line in from_the_top] == [style.color for style in of.values()]
    lowest_line = min(line.get_zorder() for line in axes.lines)
    assert all(band.get_zorder() < lowest_line for band in axes.collections)


def test_a_dash_pattern_is_that_of_the_style():
    axes = Figure().add_subplot()
    of = {"solid": Style((0, 0, 0), DASHES[0]), "dashed": Style((0, 0, 0), DASHES[1])}
    rows = [(name, x, 0.0, 0.0, 1.0) for name in of for x in (0, 1)]
    table = pd.DataFrame(rows, columns=["algorithm", "step", "point", "low", "high"])
    plots.curves(axes, table, of, "step")
    assert [line.is_dashed() for line in axes.lines] == [False, True]


def test_single_runs_are_thin_lines_without_bands():
    axes, of = axes_and_styles(2)
    rows = [(name, seed, x, float(seed)) for name in of for seed in (0, 1, 2) for x in (0, 1)]
    table = pd.DataFrame(rows, columns=["algorithm", "seed", "step", "return_mean"])
    plots.runs(axes, table, of)
    assert [list(line.get_ydata()) for line in axes.lines] == 2 * [[0, 0], [1, 1], [2, 2]]
    colors = [to_hex(line.get_color()) for line in axes.lines]
    assert colors == [style.hex for style in of.values() for _ in range(3)]
    assert not axes.collections


def test_large_returns_are_written_as_in_tables():
    axes = Figure().add_subplot()
    axes.plot([0, 1], [0, 20_000])
    plots.nice_ticks(axes, steps=True)
    axes.figure.draw_without_rendering()
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert "10,000" in labels and not any("k" in label for label in labels)


@pytest.mark.parametrize("low", [998, 999, 999.6, 999.95])
def test_ticks_between_whole_numbers_are_not_rounded_to_them(low):
    axes = Figure().add_subplot()
    axes.plot([0, 1], [low, 1000])
    plots.nice_ticks(axes)
    axes.figure.draw_without_rendering()
    labels = [float(tick.get_text().replace(",", "")) for tick in axes.get_yticklabels()]
    assert labels == pytest.approx(axes.get_yticks().tolist())
    assert len(set(labels)) == len(labels)


def test_an_estimate_at_the_highest_bound_is_drawn_whole():
    axes, of = axes_and_styles(1)
    rows = [(next(iter(of)), 500.0, 480.0, 500.0)]
    plots.intervals(axes, pd.DataFrame(rows, columns=["algorithm", "point", "low", "high"]), of)
    assert axes.get_xlim()[1] > 500


def test_a_single_position_has_an_axis_with_a_width():
    axes, of = axes_and_styles(1)
    table = pd.DataFrame({"algorithm": list(of), "step": 5, "point": 1.0, "low": 0.0, "high": 2.0})
    plots.curves(axes, table, of, "step")
    assert axes.get_xlim() == (5, 6)


@pytest.mark.parametrize(
    ("end", "labels"),
    [
        (100, ["0", "20", "40", "60", "80", "100"]),
        (4_000, ["0", "1,000", "2,000", "3,000", "4,000"]),
        (50_000, ["0", "10k", "20k", "30k", "40k", "50k"]),
        (2_000_000, ["0", "0.5M", "1M", "1.5M", "2M"]),
    ],
)
def test_ticks_are_few_and_round_and_of_one_kind(end, labels):
    axes = Figure().add_subplot()
    axes.plot([0, end], [0, 1])
    axes.set_xlim(0, end)
    plots.nice_ticks(axes, steps=True)
    axes.figure.draw_without_rendering()
    assert [tick.get_text() for tick in axes.get_xticklabels()] == labels


def test_an_interval_has_a_bar_between_its_bounds_and_a_mark_at_the_estimate():
    axes, of = axes_and_styles(2)
    one, other = of
    rows = [(other, 2.0, 1.5, 3.0), (one, 1.0, np.nan, np.nan)]  # a single run has no bounds
    plots.intervals(axes, pd.DataFrame(rows, columns=["algorithm", "point", "low", "high"]), of)
    (bar,) = axes.patches
    assert (bar.get_x(), bar.get_width()) == (1.5, 1.5)
    assert bar.get_y() + bar.get_height() / 2 == 1  # the second row
    marks = {to_hex(line.get_color()): line.get_xdata().tolist() for line in axes.lines}
    assert marks == {to_hex(of[one].color): [1, 1], to_hex(of[other].color): [2, 2]}
    assert [label.get_text() for label in axes.get_yticklabels()] == [one, other]
    assert axes.yaxis_inverted()


def test_a_long_name_is_broken_before_its_parenthesis():
    assert plots.wrapped("REINFORCE (optimal baseline)") == "REINFORCE\n(optimal baseline)"
    assert plots.wrapped("A method with a rather long name") == "A method with a\nrather long name"
    assert plots.wrapped("NPG") == "NPG"


def test_every_function_returns_the_axes_it_was_given():
    grid = made_up.grid(2, 1)
    analysis = analyze(grid, made_up.results(grid))
    style = styles(grid.algorithms)
    iqm = analysis.aggregates[analysis.aggregates["statistic"] == "IQM"]
    for draw in (
        lambda axes: plots.curves(axes, analysis.performance_profiles, style, "score"),
        lambda axes: plots.intervals(axes, iqm, style),
        lambda axes: plots.probability_of_improvement(
            axes, analysis.probability_of_improvement, list(style)
        ),
    ):
        axes = Figure().add_subplot()
        assert draw(axes) is axes
        assert axes.has_data()


def test_a_heat_map_of_many_algorithms_names_every_one():
    names = [f"A{i}" for i in range(40)]
    table = pd.DataFrame([(x, y, 0.5, 0.4, 0.6, False) for x, y in combinations(names, 2)])
    table.columns = ["x", "y", "point", "low", "high", "apart"]
    axes = plots.probability_of_improvement(Figure().add_subplot(), table, names)
    assert [label.get_text() for label in axes.get_xticklabels()] == names
    assert [label.get_text() for label in axes.get_yticklabels()] == names


def test_the_heat_map_shows_each_pair_and_its_converse():
    grid = made_up.grid(2, 1)
    analysis = analyze(grid, made_up.results(grid))
    table = analysis.probability_of_improvement.assign(point=0.75, low=0.6, high=0.9, apart=True)
    axes = plots.probability_of_improvement(Figure().add_subplot(), table, list(grid.algorithms))
    cells = {text.get_position(): text for text in axes.texts}
    assert cells[1.5, 0.5].get_text() == "0.75\n[0.60, 0.90]"
    assert cells[0.5, 1.5].get_text() == "0.25\n[0.10, 0.40]"
    assert {text.get_weight() for text in axes.texts} == {"bold"}
    unsure = plots.probability_of_improvement(
        Figure().add_subplot(), table.assign(apart=False), list(grid.algorithms), bounds=False
    )
    assert {text.get_text() for text in unsure.texts} == {"0.75", "0.25"}
    assert {text.get_weight() for text in unsure.texts} == {"normal"}
