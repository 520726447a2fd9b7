"""One self-contained page from the figures that a folder holds."""

import io
import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from sb3_course.benchmark.reporting.figures import FORMATS, data_uri, style
from sb3_course.common.files import write_whole
from sb3_course.lectures import FIGURES
from sb3_course.lectures.toolkit import FONT_SCALE


def publish(folder: Path) -> Path:
    """Write ``report.html`` from whatever figures there are.

    :param folder: ``results/figures``
    :return: The page
    """
    environment = Environment(
        loader=PackageLoader("sb3_course.lectures", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    present = [name for name in FIGURES if (folder / f"{name}.json").exists()]
    manifest = json.loads((folder / "manifest.json").read_text())
    page = environment.get_template("report.html.j2").render(
        figures=[_content(folder, name) for name in present],
        missing=[name for name in FIGURES if name not in present],
        manifest=manifest,
    )
    path = folder / "report.html"
    write_whole(path, page + "\n")
    return path


def _content(folder: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    content["drawing"] = data_uri((folder / f"{name}.svg").read_text())
    content["formula"] = data_uri(formula(content["equation"]))
    content["settings"] = json.dumps(content["config"], indent=1, ensure_ascii=False)
    return content


def formula(tex: str) -> str:
    """Set a formula, without TeX.

    :param tex: In Matplotlib's subset of TeX
    :return: An SVG
    """
    buffer = io.StringIO()
    with style(FONT_SCALE):
        figure = Figure(figsize=(0.1, 0.1))
        figure.text(0, 0, tex, fontsize=12)
        figure.savefig(
            buffer,
            format="svg",
            bbox_inches="tight",
            pad_inches=0.03,
            transparent=True,
            metadata=FORMATS["svg"],
        )
    return buffer.getvalue()
