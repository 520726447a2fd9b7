"""Sphinx's settings. `make docs` builds the site; nothing in it is loaded from the network."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent / "scripts")]

project = "sb3_course"
author = "The sb3_course authors"
copyright = author
html_title = "sb3_course"

extensions = [
    "myst_nb",  # with myst_parser, which it extends by notebooks
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx_design",
    "mathematics",
    "notebooks",
    "offline",
    "repository",
    "stored",
]
exclude_patterns = ["_build", "_generated", "_ext"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
myst_dmath_double_inline = True  # display formulas in items of lists

# Notebooks are executed whenever their page is read anew, in a folder of their own. An error, words
# on stderr (a warning, say) or a cell that hangs fail the build.
nb_execution_mode = "auto"
nb_execution_in_temp = True
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_output_stderr = "remove-warn"
nb_merge_streams = True

# Every reference has to resolve. What a function raises is named as in its module, for readers of
# the code.
nitpicky = True
nitpick_ignore_regex = [("py:exc", r"\w+")]

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # of the signature: names and defaults say more than ten lines of types
autoclass_content = "class"
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True
