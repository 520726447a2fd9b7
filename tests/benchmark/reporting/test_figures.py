from itertools import combinations
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from sb3_course.benchmark.reporting import figures
from sb3_course.benchmark.reporting.sections import sections
from sb3_course.benchmark.reporting.styles import styles
from sb3_course.benchmark.statistics.analysis import analyze
from tests.benchmark import made_up


def drawn(n_algorithms, n_environments, seeds=2) -> dict[str, Figure]:
    grid = made_up.grid(n_algorithms, n_environments, seeds)
    results = made_up.results(grid)
    content = sections(analyze(grid, results), made_up.record(grid, results))
    return {picture.name: picture.figure for part in content for picture in part.pictures}


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


@pytest.fixture(scope="module", params=[(1, 1), (2, 4), (6, 2), (12, 8)], ids=str)
def case(request):
    return *request.param, drawn(*request.param)


def test_no_text_overlaps_another_or_leaves_the_figure(case):
    for name, figure in case[2].items():
        with figures.style():
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


def test_every_panel_has_data_and_its_own_title(case):
    n_algorithms, n_environments, of = case
    expected = {
        "learning_curves",
        "aggregates",
        "performance_profiles",
        "sample_efficiency",
        "wall_clock",
    }
    expected |= {"probability_of_improvement"} if n_algorithms > 1 else set()
    expected |= {"iqm_by_environment"} if n_environments > 1 else set()
    assert set(of) == expected
    for name in ("learning_curves", "wall_clock"):
        titles = [axes.get_title() for axes in of[name].axes]
        assert titles == list(made_up.ENVIRONMENTS[:n_environments])
    for figure in of.values():
        assert figure.get_figwidth() <= figures.PAGE + 0.01
        assert all(axes.has_data() for axes in figure.axes)


def test_an_algorithm_looks_the_same_in_every_figure(case):
    names = made_up.ALGORITHMS[: case[0]]
    expected = [style.color for style in styles(names).values()]
    for name in ("learning_curves", "wall_clock", "performance_profiles", "sample_efficiency"):
        for axes in case[2][name].axes:
            assert [line.get_color() for line in axes.lines] == expected
    for axes in case[2]["aggregates"].axes:
        from_the_top = sorted(axes.lines, key=lambda line: line.get_ydata()[0])
        assert [line.get_color() for line in from_the_top] == expected


def test_one_run_is_drawn_without_a_band():
    of = drawn(1, 1, seeds=1)
    (axes,) = of["learning_curves"].axes
    assert [len(band.get_paths()) for band in axes.collections] == [0]
    assert len(axes.lines) == 1
    assert not any(axes.patches for axes in of["aggregates"].axes)


def test_a_data_uri_contains_the_drawing(tmp_path):
    figure = Figure(figsize=(3, 2))
    figure.subplots().set_title("50 % of \"A&B\" < 'é' #1")
    figures.save(figure, tmp_path, "drawing")
    svg = (tmp_path / "drawing.svg").read_text()
    uri = figures.data_uri(svg)
    kind, _, text = uri.partition(",")
    assert kind == "data:image/svg+xml" and not set("\"'<>&#\n") & set(text)
    ElementTree.fromstring(unquote(text))
    assert unquote(text).split() == svg.split()


def test_an_error_while_drawing_keeps_the_old_file(tmp_path, monkeypatch):
    def broken(self, file, **settings):
        (file if hasattr(file, "write") else file.open("wb")).write(b"half")
        raise OSError("disk full")

    (tmp_path / "drawing.svg").write_text("old")
    monkeypatch.setattr(Figure, "savefig", broken)
    with pytest.raises(OSError, match="disk full"):
        figures.save(Figure(), tmp_path, "drawing")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_compressed_picture_looks_the_same(tmp_path):
    figure = Figure(figsize=(3, 2))
    axes = figure.subplots()
    for shade in np.linspace(0, 1, 8):
        axes.fill_between([0, 1], [0, shade], alpha=0.2, color=(shade, 0.5, 1 - shade))
    figures.save(figure, tmp_path, "small")
    with figures.style():
        figure.savefig(tmp_path / "large.png", dpi=figures.DPI)
    small, large = (Image.open(tmp_path / f"{name}.png") for name in ("small", "large"))
    assert small.size == large.size and small.mode == "P"
    difference = np.subtract(small.convert("RGB"), large.convert("RGB"), dtype=int)
    assert np.abs(difference).mean() < 2  # of 255
