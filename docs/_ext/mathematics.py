"""MathJax from the site itself, so that formulas need no network.

MathJax typesets in the browser what is written in TeX. The package ``sphinx-mathjax-offline`` holds
the whole of it; the two parts that pages load are copied. What was tried instead: MathML needs a
mathematical font, which many systems lack, and images need LaTeX; KaTeX prerenders with node alone.
"""

import shutil
from importlib.util import find_spec
from pathlib import Path

from sphinx.application import Sphinx

PARTS = ("tex-chtml.js", "output/chtml/fonts/woff-v2")
FOLDER = "mathjax"


def copy(app: Sphinx, exception: Exception | None) -> None:
    """Copy what pages load into the static files of the built site."""
    if exception is not None or app.builder.format != "html":
        return
    found = find_spec("sphinx-mathjax-offline")
    assert found is not None and found.origin is not None, "the extra docs installs it"
    source = Path(found.origin).parent / "static" / "mathjax"
    target = Path(app.outdir) / "_static" / FOLDER
    for part in PARTS:
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, dirs_exist_ok=True)
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / part, target / part)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.config.mathjax_path = f"{FOLDER}/{PARTS[0]}"
    app.connect("build-finished", copy, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
