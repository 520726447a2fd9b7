import re
import warnings
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from sb3_course.benchmark.reporting.drawing import files


def test_a_data_uri_contains_the_drawing(tmp_path):
    figure = Figure(figsize=(3, 2))
    figure.subplots().set_title("50 % of \"A&B\" < 'é' #1")
    files.save(figure, tmp_path, "drawing")
    svg = (tmp_path / "drawing.svg").read_text()
    uri = files.data_uri(svg)
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
        files.save(Figure(), tmp_path, "drawing")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_compressed_picture_looks_the_same(tmp_path):
    figure = Figure(figsize=(3, 2))
    axes = figure.subplots()
    for shade in np.linspace(0, 1, 8):
        axes.fill_between([0, 1], [0, shade], alpha=0.2, color=(shade, 0.5, 1 - shade))
    files.save(figure, tmp_path, "small")
    with files.style():
        figure.savefig(tmp_path / "large.png", dpi=files.DPI)
    small, large = (Image.open(tmp_path / f"{name}.png") for name in ("small", "large"))
    assert small.size == large.size and small.mode == "P"
    difference = np.subtract(small.convert("RGB"), large.convert("RGB"), dtype=int)
    assert np.abs(difference).mean() < 2  # of 255


def labeled():
    with files.plain_text_style():
        figure = Figure(figsize=(3, 2), layout="constrained")
        axes = figure.subplots()
        axes.set(xlabel="Steps & <more>", ylabel="$100")
        axes.plot([0, 1], [0, 1], color="#0173b2")
    return figure


def test_neutral_colors_of_a_page_follow_the_color_scheme_and_those_of_lines_do_not():
    svg = unquote(files.for_page(labeled()).partition(",")[2])
    root = ElementTree.fromstring(svg)
    sheet = next(root.iter("{http://www.w3.org/2000/svg}style")).text
    light, dark = sheet.split("@media screen and (prefers-color-scheme:dark)")
    for i, (color, night) in enumerate(files.DARK.items()):
        assert f"--c{i}:{color}" in light
        assert f"--c{i}:{night}" in dark
        assert not re.search(color, svg.replace(sheet, ""), re.IGNORECASE)
    assert "#0173b2" in svg


def test_a_page_has_texts_as_texts_and_nothing_to_load():
    svg = unquote(files.for_page(labeled()).partition(",")[2])
    texts = [t.text for t in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert {"Steps & <more>", "$100"} <= set(texts)
    assert set(re.findall(r"https?://[^\"]*", svg)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_files_are_plain_and_the_same_each_time():
    figure = labeled()
    drawn = files.drawn(figure, "figure")
    assert set(drawn) == {"figure.svg", "figure.pdf", "figure.png"}
    assert b"var(" not in drawn["figure.svg"]
    assert drawn == files.drawn(figure, "figure")


def test_characters_that_the_font_lacks_are_told_once():
    with pytest.warns(UserWarning) as told, files.glyphs_checked():
        for title in ("日本", "本 and A"):
            figure = Figure()
            figure.add_subplot().set_title(title)
            files.drawn(figure, "title")
        warnings.warn("another one", stacklevel=1)
    assert [str(one.message) for one in told] == [
        "another one",
        "figures show boxes for 日本: their font lacks these",
    ]
