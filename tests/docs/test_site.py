"""The built site: no warning, and nothing is loaded from the network."""

import subprocess
import sys
from pathlib import Path

import pytest
from network import loads, site_loads

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "page",
    [
        '<script src="https://cdn.example.org/a.js"></script>',
        '<script defer src="//cdn.example.org/a.js"></script>',
        '<link rel="stylesheet" href="https://fonts.example.org/a.css">',
        '<link href="https://fonts.example.org" rel="preconnect">',
        '<img src="http://example.org/a.png">',
        '<iframe src="https://example.org/video"></iframe>',
        '<object data="https://example.org/a.svg"></object>',
        '<p style="background: url(https://example.org/a.png)">',
        "<style>@import 'https://example.org/a.css';</style>",
        '<style>@font-face { src: url("//example.org/a.woff2") }</style>',
    ],
)
def test_what_a_page_loads_is_found(page):
    assert len(loads(page)) == 1


@pytest.mark.parametrize(
    "page",
    [
        '<a href="https://example.org">to follow</a>',
        '<script src="_static/a.js"></script>',
        '<link rel="canonical" href="https://example.org/page.html">',
        '<svg xmlns="http://www.w3.org/2000/svg"></svg>',
        "<p>https://example.org</p>",
    ],
)
def test_what_a_page_does_not_load_is_not(page):
    assert loads(page) == []


def test_style_sheets_are_read_as_well(tmp_path):
    (tmp_path / "a.css").write_text("@import url(https://fonts.example.org/a.css);")
    (tmp_path / "b.html").write_text("<p>")
    assert [(path.name, at) for path, at in site_loads(tmp_path)] == [
        ("a.css", "https://fonts.example.org/a.css")
    ]


@pytest.mark.parametrize("notebooks", ["off", pytest.param("auto", marks=pytest.mark.slow)])
def test_the_site_is_built_without_a_warning(notebooks, tmp_path):
    """As `make docs` does; it executes the notebooks as well, which takes a minute more."""
    pytest.importorskip("myst_nb", reason="needs the extra docs")
    execution = f"nb_execution_mode={notebooks}"
    words = ("-b", "html", "-W", "--keep-going", "-q", "-d", tmp_path / "trees", "-D", execution)
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *words, ROOT / "docs", tmp_path / "site"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert list(site_loads(tmp_path / "site")) == []
    page = (tmp_path / "site" / "algorithms" / "npg.html").read_text()
    assert "fisher_vector_product" in page and "mathjax/tex-chtml.js" in page
    assert (tmp_path / "site" / "_static" / "mathjax" / "tex-chtml.js").exists()
    page = (tmp_path / "site" / "notebooks" / "natural_gradient.html").read_text()
    assert ("cell_output" in page) == (notebooks == "auto")
