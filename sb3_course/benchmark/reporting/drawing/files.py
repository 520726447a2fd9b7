"""The style of all drawings, their files, and how a page embeds them."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import matplotlib as mpl
import seaborn as sns
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image

from sb3_course.common.files import write_atomically

COLUMN, PAGE = 3.4, 7.0
"""Widths in inches."""
DPI = 200
"""Resolution of PNG files."""
FORMATS = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
"""File formats, each with the metadata that would otherwise contain the time of drawing."""
GLYPH = re.compile(r"Glyph (\d+) .*missing from font")
"""Matplotlib's warning of a character that a font does not have."""
INK, PAPER, RULE = "#262626", "#ffffff", "#cccccc"
"""Neutral colors of drawings: text and axes, background, and grid."""
DARK = {INK: "#d6dae0", PAPER: "none", RULE: "#3a414b"}
"""What the neutral colors become on a dark page."""


@contextmanager
def style(font_scale: float = 0.85) -> Iterator[None]:
    """Set sizes and fonts for print, and make files reproducible.

    :param font_scale: Size of the text relative to seaborn's ``paper`` context
    """
    with (
        mpl.rc_context(),
        sns.axes_style("whitegrid", {"axes.spines.top": False, "axes.spines.right": False}),
        sns.plotting_context("paper", font_scale=font_scale),
    ):
        mpl.rcParams.update({"text.color": INK, "axes.labelcolor": INK})
        mpl.rcParams.update({"xtick.color": INK, "ytick.color": INK})
        mpl.rcParams.update({"grid.color": RULE, "axes.edgecolor": RULE, "grid.linewidth": 0.6})
        mpl.rcParams["svg.hashsalt"] = "sb3_course"
        yield


@contextmanager
def plain_text_style(font_scale: float = 0.85) -> Iterator[None]:
    """Set the style of figures with names from grids, whose dollar signs start no formula.

    :param font_scale: Size of the text relative to seaborn's ``paper`` context
    """
    with style(font_scale):
        mpl.rcParams["text.parse_math"] = False
        yield


@contextmanager
def glyphs_checked() -> Iterator[None]:
    """Warn once of all characters that the figures' font lacks, which Matplotlib says of each."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    lacking = set()
    for one in caught:
        if found := GLYPH.match(str(one.message)):
            lacking.add(chr(int(found[1])))
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    if lacking:
        characters = "".join(sorted(lacking))
        warnings.warn(f"figures show boxes for {characters}: their font lacks these", stacklevel=1)


def save(figure: Figure, folder: Path, name: str, font_scale: float = 0.85) -> None:
    """Write a figure in every format.

    Each file is replaced atomically, because two commands on one grid may finish and draw at the
    same time.

    :param figure: Figure to write
    :param folder: Folder of the files
    :param name: Name of the files without a suffix
    :param font_scale: Font scale that the figure was drawn with
    """
    for file, content in drawn(figure, name, font_scale).items():
        write_atomically(folder / file, content)


def drawn(figure: Figure, name: str, font_scale: float = 0.85) -> dict[str, bytes]:
    """Draw a figure in every format; the same figure always results in the same bytes.

    :param figure: Figure to draw
    :param name: Name of the files without a suffix
    :param font_scale: Font scale that the figure was drawn with
    :return: Content of each file, by name
    """
    files = {}
    with style(font_scale):
        _lay_out(figure)
        for ending, metadata in FORMATS.items():
            file = BytesIO()
            if ending == "png":
                compressed(figure).save(file, "png", optimize=True, dpi=(DPI, DPI))
            else:
                figure.savefig(file, format=ending, dpi=DPI, metadata=metadata)
            files[f"{name}.{ending}"] = file.getvalue()
    return files


def _lay_out(figure: Figure) -> None:
    """Lay out a figure once; Matplotlib draws a figure that has an engine twice for each file."""
    if engine := figure.get_layout_engine():
        engine.execute(figure)
        figure.set_layout_engine(None)


def compressed(figure: Figure) -> Image.Image:
    """Draw a figure in 256 colors, which is enough for lines and bands and a third of the size.

    :param figure: Figure to draw
    :return: Picture
    """
    file = BytesIO()
    figure.savefig(file, format="rgba", dpi=DPI)
    width = int(figure.get_figwidth() * DPI)
    size = width, len(file.getvalue()) // (4 * width)
    return Image.frombytes("RGBA", size, file.getvalue()).convert("RGB").quantize(256)


def for_page(figure: Figure, font_scale: float = 0.85, outlines: bool = False) -> str:
    """Draw a figure for a page: its neutral colors follow the reader's color scheme.

    :param figure: Figure to draw
    :param font_scale: Font scale that the figure was drawn with
    :param outlines: Whether texts are drawn as outlines, whose places do not depend on the fonts
        that a reader has
    :return: Data URI of an SVG drawing
    """
    file = BytesIO()
    with style(font_scale):
        mpl.rcParams["svg.fonttype"] = "path" if outlines else "none"
        FigureCanvasSVG(figure)  # by the widths of this format's texts
        figure.dpi = 72
        _lay_out(figure)
        figure.savefig(file, format="svg", metadata=FORMATS["svg"])
    return data_uri(two_schemes(file.getvalue().decode()))


def two_schemes(svg: str) -> str:
    """Make the neutral colors of a drawing follow the reader's color scheme, except in print.

    :param svg: Text of an SVG file
    :return: Text of an SVG file for pages
    """
    names = {color: f"--c{i}" for i, color in enumerate(DARK)}
    for color, name in names.items():
        svg = svg.replace(color, f"var({name})")
    svg = re.sub(
        r"\s*<metadata>.*?</metadata>|<!--.*?-->|<\?xml.*?\?>|<!DOCTYPE[^>]*>", "", svg, flags=re.S
    )
    svg = re.sub(r"font: ([^;\"]*?)px [^;\"]*", r"font: \1px system-ui, sans-serif", svg)
    light, dark = (
        ";".join(f"{names[color]}:{(DARK[color] if night else color)}" for color in DARK)
        for night in (False, True)
    )
    sheet = f"svg{{{light}}}@media screen and (prefers-color-scheme:dark){{svg{{{dark}}}}}"
    return re.sub(r"(<svg[^>]*>)", rf"\1<style>{sheet}</style>", svg.strip(), count=1)


def data_uri(svg: str) -> str:
    """Return a drawing as a data URI, for a page that loads nothing; a fifth smaller than base64.

    :param svg: Text of an SVG file
    :return: URI that can be used in an HTML attribute without further escaping
    """
    return "data:image/svg+xml," + quote(" ".join(svg.split()), safe=" !$()*+,-./:;=?@_")
