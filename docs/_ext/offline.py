"""Warn about whatever a built page would load from the network; `make docs` then fails."""

from pathlib import Path

from network import site_loads
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


def check(app: Sphinx, exception: Exception | None) -> None:
    """Check the whole site once it is built."""
    if exception is None and app.builder.format == "html":
        for path, address in site_loads(Path(app.outdir)):
            logger.warning("%s loads %s from the network", path.name, address)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("build-finished", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
