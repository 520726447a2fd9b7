import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import yaml

from sb3_course.benchmark.definition.grid import load_grid
from sb3_course.benchmark.reporting import report
from sb3_course.benchmark.storage import manifest
from sb3_course.benchmark.storage.result import RunResult
from sb3_course.benchmark.storage.store import Store
from tests.benchmark import made_up

ALGORITHMS = {"A2C <fast>": {"class": "A2C"}, "Broken": {"class": "A2C"}, "B|C": {"class": "A2C"}}
FIGURES = (
    "learning_curves",
    "aggregates",
    "iqm_by_environment",
    "probability_of_improvement",
    "performance_profiles",
    "sample_efficiency",
    "wall_clock",
)
PRINTED = {"aggregates", "iqm_by_environment"}
"""Figures whose intervals a page draws in tables."""
VOID = {"meta", "img", "br", "hr", "link", "input", "wbr"}


def grid():
    environments = {
        name: {"total_timesteps": 1000, "n_envs": 2}
        for name in ("CartPole-v1", "HalfCheetah-v4", "Taxi-v3")
    }
    return made_up.grid(algorithms=ALGORITHMS, environments=environments)


def filled(folder) -> Store:
    """Fill a store with results: all runs of one algorithm failed and one run is missing."""
    store, generator = Store(folder), np.random.default_rng(0)
    for spec in grid().runs()[:-1]:
        if spec.algorithm == "Broken":
            store.write(RunResult(spec=spec, failure="Traceback\n\nValueError: <script>x</script>"))
        else:
            store.write(made_up.finished(spec, generator))
    return store


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Publish the same results here and by the command, with another seed of string hashes."""
    here, there = (tmp_path_factory.mktemp(name) / "made-up" for name in ("here", "there"))
    report.publish(grid(), filled(here))
    filled(there)
    path = there.parent / "grid.yaml"
    path.write_text(yaml.safe_dump(report.configuration(grid()), sort_keys=False))
    code = "from sb3_course.cli.app import main; main()"
    command = [sys.executable, "-c", code, "report", str(path), "--results", str(there.parent)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "1"})
    return here, there


@pytest.fixture(scope="module")
def page(published):
    return (published[0] / "report.html").read_text()


@pytest.fixture(scope="module")
def readme(published):
    return (published[0] / "README.md").read_text()


def test_a_report_is_reproduced_byte_for_byte(published):
    first, second = published
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    names = {"returns.csv", "report.html", "README.md"}
    names |= {f"{f}.{e}" for f in FIGURES for e in ("png", "svg", "pdf")}
    assert names <= {p.name for p in files}
    for path in files:
        assert (first / path).read_bytes() == (second / path).read_bytes(), path


def test_the_page_loads_nothing_and_escapes_names(page):
    around = re.sub(
        r'src="data:[^"]*"', "", page
    )  # an image loads nothing; its SVG contains namespaces
    assert not re.search(r"https?://|url\(|@import", around)
    assert not re.search(r"<(script|link|iframe)", page)
    assert set(re.findall(r'src="([^,"]*)', page)) == {"data:image/svg+xml"}
    assert "A2C &lt;fast&gt;" in page
    assert "&lt;script&gt;" in page


class Outline(HTMLParser):
    """The structure of a page; an error is raised if a tag is closed that is not open."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.ids, self.targets, self.contents = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.targets += [attributes["href"][1:]] if "href" in attributes else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-2:] == ["li", "a"]:
            self.contents.append(data)


def outlined(page) -> Outline:
    outline = Outline()
    outline.feed(page)
    return outline


def test_the_page_is_well_formed_and_accessible(page):
    outline = outlined(page)
    assert outline.open == []
    assert set(outline.targets) <= set(outline.ids)
    assert len(set(outline.ids)) == len(outline.ids) > 5
    tags = [tag for tag, _ in outline.tags]
    images = [attributes for tag, attributes in outline.tags if tag == "img"]
    shown = set(FIGURES) - PRINTED
    assert {a["id"] for tag, a in outline.tags if tag == "figure"} == shown
    assert tags.count("figcaption") == len(shown)
    assert all(image["alt"] for image in images)
    labels = [a["aria-label"] for tag, a in outline.tags if tag == "figure"]
    assert all(len(label) > 20 for label in labels)
    assert tags.count("table") == tags.count("caption") > 5
    assert ("html", {"lang": "en"}) in outline.tags
    assert {"Learning curves", "Scores", "Returns"} <= set(outline.contents)
    assert {a.get("scope") for tag, a in outline.tags if tag == "th"} == {"col", "row"}


@pytest.mark.parametrize("name", ["page", "readme"])
def test_failures_missing_runs_and_environments_without_scores_are_listed(name, request):
    text = request.getfixturevalue(name)
    assert "17 of 27 runs finished, 9 failed, 1 not run" in text
    assert "failed: ValueError: &lt;script>" in text or "failed: ValueError: &lt;script&gt;" in text
    assert "<script" not in text
    assert "Broken · Taxi-v3 · seed 2" in text
    assert "Without reference returns, and so in no score: Taxi-v3." in text
    assert "not run" in text
    assert "10,000 replications" in text
    assert "2,000 replications" in text


def test_the_readme_shows_all_figures_and_its_tables_are_complete(readme, published):
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", readme)
    assert {f"figures/{name}.png" for name in FIGURES} == set(shown)
    assert all((published[0] / path).exists() for path in shown)
    blocks = re.findall(r"(?:^\|.*\|\n)+", readme, flags=re.MULTILINE)
    assert blocks
    for block in blocks:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block
    assert "B\\|C" in readme
    assert "A2C &lt;fast>" in readme


def test_the_configuration_on_the_page_is_the_grid(readme, tmp_path):
    text = re.search(
        r"Configuration of the complete grid</summary>\n\n<pre>(.*?)</pre>", readme, re.S
    )[1]
    path = tmp_path / "grid.yaml"
    path.write_text(text.replace("&lt;", "<").replace("&gt;", ">"))
    assert load_grid(path) == grid()


def test_the_page_may_load_nothing_and_run_nothing(page):
    (policy,) = [
        attributes["content"]
        for tag, attributes in outlined(page).tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "script-src" not in rules  # so that the default holds
    # What the page itself uses: a sheet and attributes of styles, and embedded drawings.
    assert (rules["style-src"], rules["img-src"]) == ("'unsafe-inline'", "data:")


def test_the_page_names_the_command_and_the_versions(tmp_path):
    store = Store(tmp_path)
    manifest.write_manifest(grid(), tmp_path, "sb3-course run my.yaml", 2, 0.0)
    page = report.publish(grid(), store).read_text()
    assert "sb3-course run my.yaml" in page
    assert json.loads((tmp_path / "manifest.json").read_text())["versions"]["torch"] in page


def test_a_report_without_results_contains_no_figure_of_an_earlier_one(tmp_path):
    store, folder = filled(tmp_path), tmp_path / "figures"
    report.publish(grid(), store)
    assert {p.stem for p in folder.glob("*.png")} == set(FIGURES)
    mine = folder / "my_own.png"
    mine.touch()
    for kept in ("runs", "failed"):
        shutil.rmtree(tmp_path / kept)
    page = report.publish(grid(), store).read_text()
    assert "27 not run" in page
    assert "<img" not in page
    assert [p for p in folder.iterdir() if p.name[0] != "."] == [mine]


def test_a_click_enlarges_each_panel_and_a_link_closes_it(page):
    outline = outlined(page)
    links = [a for tag, a in outline.tags if tag == "a" and a.get("class") == "panel"]
    assert len(links) > 10
    assert all(link["href"] == f"#{link['id']}" for link in links)
    figures = {a["id"] for tag, a in outline.tags if tag == "figure"}
    closing = {a["href"][1:] for tag, a in outline.tags if a.get("class") == "close"}
    assert closing == figures


def test_single_runs_and_long_tables_are_shown_on_demand(page):
    folded = re.findall(r"<summary>(.*?)</summary>", page)
    assert "Single runs" in folded
    assert any(text.startswith("Mean of final returns") for text in folded)
    assert 'id="learning_curves-more-1"' in page


def test_numbers_are_aligned_right_and_named_where_a_narrow_page_stacks_them(page):
    cells = re.findall(r'<td data-label="([^"]*)"( class="number")?>(.*?)</td>', page, re.S)
    numbers = [c for c in cells if c[0] == "Mean rank"]
    assert numbers and all(number for _, number, _ in numbers)
    assert all('<svg class="bar"' in text for _, _, text in numbers)
    assert not any(number for name, number, _ in cells if name == "Expert")
