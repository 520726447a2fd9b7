"""The design pages as they are, in the navigation, and with links to pages instead of folders."""

from sphinx.application import Sphinx

PAGES = "\n\n```{toctree}\n:hidden:\n:glob:\n\n*\n```\n"
CODE, ITS_PAGES = "](../../sb3_course)", "](../algorithms/index.md)"


def fit(app: Sphinx, name: str, source: list[str]) -> None:
    """Put the design pages into the navigation, and lead from them to pages instead of folders."""
    if name == "design/README":
        source[0] += PAGES
    if name.startswith("design/"):
        source[0] = source[0].replace(CODE, ITS_PAGES)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("source-read", fit)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
