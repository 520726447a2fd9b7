"""A profile of their own for the notebooks' kernels: no start-up files of a user, no chatter."""

import logging
import os
import tempfile
from pathlib import Path

from sphinx.application import Sphinx

FOLDER = tempfile.TemporaryDirectory(prefix="ipython")
CONFIGURATION = "profile_default/ipython_kernel_config.py"
QUIET = 'c.IPKernelApp.log_level = "ERROR"  # it warns of its connection, which is local\n'


def isolate(app: Sphinx) -> None:
    """Give kernels an empty profile, and say nothing of a normal start."""
    path = Path(FOLDER.name) / CONFIGURATION
    path.parent.mkdir(exist_ok=True)
    path.write_text(QUIET)
    os.environ["IPYTHONDIR"] = FOLDER.name
    logging.getLogger("traitlets").setLevel(logging.WARNING)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("builder-inited", isolate)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
