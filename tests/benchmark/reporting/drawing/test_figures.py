import warnings
from itertools import combinations

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from sb3_course.benchmark.reporting.content import Picture
from sb3_course.benchmark.reporting.drawing import figures, files
from sb3_course.benchmark.reporting.drawing.styles import styles
from sb3_course.benchmark.reporting.sections.contents import sections
from sb3_course.benchmark.statistics.analysis import analyze
from sb3_course.benchmark.statistics.scores import Reference
from tests.benchmark import made_up


def pictures(n_algorithms, n_environments, seeds=2) -> dict[str, Picture]:
    grid = made_up.grid(n_algorithms, n_environments, seeds)
    results = made_up.results(grid)
    content = sections(analyze(grid, results), made_up.record(grid, results))
    return {picture.name: picture for part in content for picture in part.pictures}


def texts(figure: Figure) -> list[Text]:
    """Return the visible texts of a figure, without those of ticks outside the axes."""
    hidden = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if not low - 1e-9 <= tick.get_loc() <= high + 1e-9:
                    hidden |= {tick.label1, tick.label2}
    found = [t for t in figure.findobj(Text) if t.get_text() and t.get_visible()]
    return [text for text in found if text not in hidden]


@pytest.fixture(scope="module", params=[(1, 1), (2, 4), (6, 5), (12, 8)], ids=str)
def case(request):
    return *request.param, pictures(*request.param)


def fits(figure: Figure, name: str) -> None:
    with files.style():
        figure.draw_without_rendering()
    boxes = {text: text.get_window_extent() for text in texts(figure)}
    for text, box in boxes.items():
        assert box.x0 > -1, (name, text)
        assert box.y0 > -1, (name, text)
        assert box.x1 < figure.bbox.x1 + 1, (name, text)
        assert box.y1 < figure.bbox.y1 + 1, (name, text)
    for (one, a), (other, b) in combinations(boxes.items(), 2):
        across = min(a.x1, b.x1) - max(a.x0, b.x0)
        along = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(across, along) < 1, (name, one, other)


def test_no_text_overlaps_another_or_leaves_the_figure(case):
    for name, picture in case[2].items():
        fits(picture.figure, name)


def test_no_text_overlaps_another_or_leaves_its_panel(case):
    for name in ("learning_curves", "performance_profiles"):
        with files.style(1.0):
            fits(figures.alone(case[2][name].panels[0]), name)


def test_every_panel_has_data_and_its_own_title(case):
    n_algorithms, n_environments, of = case
    expected = {
        "learning_curves",
        "aggregates",
        "iqm_by_environment",
        "performance_profiles",
        "sample_efficiency",
        "wall_clock",
    }
    expected |= {"probability_of_improvement"} if n_algorithms > 1 else set()
    assert {name for name in of if not of[name].title or name in expected} == expected
    for name in ("learning_curves", "wall_clock"):
        titles = [panel.title for panel in of[name].panels]
        assert titles == list(made_up.ENVIRONMENTS[:n_environments])
        shown = [axes.get_title() for axes in of[name].figure.axes if axes.get_title()]
        assert shown == titles
    for picture in of.values():
        assert picture.figure.get_figwidth() <= files.PAGE + 0.01
        free = [axes for axes in picture.figure.axes if axes.axison]
        assert all(axes.has_data() for axes in free)


def test_an_algorithm_looks_the_same_in_every_figure(case):
    every = styles(made_up.ALGORITHMS[: case[0]])
    for picture in case[2].values():
        assert all(every[name] == style for name, style in picture.legend.items())
        for panel in picture.panels[:1]:
            (axes,) = figures.alone(panel).axes
            drawn = [line.get_color() for line in axes.lines][: len(picture.legend)]
            assert drawn == [style.color for style in picture.legend.values()]
    for axes in case[2]["aggregates"].figure.axes:
        from_the_top = sorted(axes.lines, key=lambda line: line.get_ydata()[0])
        assert [line.get_color() for line in from_the_top] == [s.color for s in every.values()]


def test_no_panel_has_more_than_five_algorithms(case):
    assert max(len(picture.legend) for picture in case[2].values()) <= 5
    for name in ("learning_curves", "wall_clock", "performance_profiles", "sample_efficiency"):
        shown = {a for n, p in case[2].items() if n.startswith(name) for a in p.legend}
        assert shown == set(made_up.ALGORITHMS[: case[0]])


def test_one_run_is_drawn_without_a_band():
    of = pictures(1, 1, seeds=1)
    (axes,) = of["learning_curves"].figure.axes
    assert [len(band.get_paths()) for band in axes.collections] == [0]
    assert not any(axes.patches for axes in of["aggregates"].figure.axes)


def test_the_legend_is_read_by_row():
    names = [f"Algorithm_{letter}" for letter in "abcde"]
    panel = figures.Panel("", lambda axes: axes.plot([0, 1]))
    figure = figures.together([panel] * 4, styles([f"{name} with a long name" for name in names]))
    (legend,) = figure.legends
    with files.style():
        figure.draw_without_rendering()
    places = {t.get_text()[10]: t.get_window_extent() for t in legend.get_texts()}
    read = sorted(places, key=lambda name: (-round(places[name].y0), places[name].x0))
    assert read == list("abcde")
    assert len({round(box.y0) for box in places.values()}) > 1


@pytest.mark.parametrize(("n", "free"), [(1, False), (3, False), (5, True), (7, True)])
def test_the_legend_is_beside_its_panels(n, free):
    panel = figures.Panel("", lambda axes: axes.plot([0, 1]))
    figure = figures.together([panel] * n, styles(["One", "Two"]))
    inside = [axes for axes in figure.axes if axes.get_legend() is not None]
    assert len(inside) == free
    assert len(figure.legends) == (not free)


def test_known_returns_are_lines_unless_they_would_flatten_the_curves():
    rows = [("A", "Task", step, 0.0, step, step, step) for step in (0, 10)]
    columns = ["algorithm", "environment", "step", "seconds", "point", "low", "high"]
    table = pd.DataFrame(rows, columns=columns)
    scale = Reference(random=-5, expert=1000, expert_name="far")
    (panel,) = figures.learning_curves(table, ["Task"], styles(["A"]), references={"Task": scale})
    (axes,) = figures.alone(panel).axes
    _, random = axes.lines
    assert list(random.get_ydata()) == [-5, -5]
    assert random.is_dashed()
    assert axes.get_ylim()[1] < 20
    assert figures.thin_lines([panel]) == " Thin lines: random actions."
    near = Reference(random=-5, expert=12, expert_name="near")
    both = figures.learning_curves(table, ["Task"], styles(["A"]), references={"Task": near})
    assert figures.thin_lines(both) == " Thin lines: expert and random actions."
    assert figures.thin_lines(figures.learning_curves(table, ["Task"], styles(["A"]))) == ""


@pytest.mark.parametrize("n_environments", [1, 4])
def test_very_long_names_leave_room_for_panels(n_environments):
    names = ["B" * 60, "A sentence of " + "many words " * 9]
    rows = [(name, f"Task {i}", 5.0, 4.0, 6.0) for name in names for i in range(n_environments)]
    table = pd.DataFrame(rows, columns=["algorithm", "environment", "point", "low", "high"])
    tasks = list(dict.fromkeys(table["environment"]))
    panels = figures.intervals(table, "environment", tasks, styles(names), "Return")
    line = figures.Panel("", lambda axes: axes.plot([0, 1]), "x", "y")
    for figure in (
        figures.together(panels, {}),
        figures.together([line] * n_environments, styles(names)),
    ):
        with files.style(), warnings.catch_warnings():
            warnings.simplefilter("error")  # of a layout that has collapsed
            figure.draw_without_rendering()


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("policy_kwargs.log_std_init", ["policy_kwargs.log_std_init"]),
        ("policy_kwargs.activation_fn", ["policy_kwargs.", "activation_fn"]),
        ("Probability of improvement, all", ["Probability of", "improvement, all"]),
    ],
)
def test_a_title_is_broken_between_words(text, lines):
    assert figures.title(text).split("\n") == lines
