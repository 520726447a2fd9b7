import json
import re

import numpy as np
import pandas as pd
import pytest

from sb3_course.benchmark import plots, report, runner
from sb3_course.benchmark.evaluation import Measurement
from sb3_course.benchmark.run import RunResult
from sb3_course.benchmark.store import Store
from tests.benchmark.helpers import tiny

ALGORITHMS = {"A2C <fast>": {"class": "A2C"}, "Broken": {"class": "A2C"}, "B": {"class": "A2C"}}


def grid():
    environments = {
        name: {"total_timesteps": 200, "n_envs": 2}
        for name in ("CartPole-v1", "HalfCheetah-v4", "Acrobot-v1")
    }
    return tiny(algorithms=ALGORITHMS, environments=environments, seeds=3)


def filled(folder) -> Store:
    """Make up results: one algorithm failed, one run is missing."""
    store, generator = Store(folder), np.random.default_rng(0)
    for spec in grid().runs()[:-1]:
        if spec.algorithm == "Broken":
            store.write(RunResult(spec=spec, failure="Traceback\nValueError: <script>x</script>"))
            continue
        measurements = [
            Measurement(s, s, s / 100, generator.normal(s, 20, 3).tolist(), [9, 9, 9])
            for s in (0, 100, 200)
        ]
        store.write(RunResult(spec=spec, measurements=measurements, seconds=1.0))
    return store


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folders = [tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")]
    for folder in folders:
        report.publish(grid(), filled(folder))
    return folders


def test_everything_is_the_same_at_each_drawing(published):
    first, second = published
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    names = {"returns.csv", "report.html"}
    names |= {f"{f}.{e}" for f in ("iqm", "learning_curves") for e in ("png", "svg", "pdf")}
    assert names <= {p.name for p in files}
    for path in files:
        assert (first / path).read_bytes() == (second / path).read_bytes(), path


def test_the_page_fetches_nothing_and_escapes(published):
    page = (published[0] / "report.html").read_text()
    assert not re.search(r"https?://", page)
    assert not re.search(r"<(script|link|iframe)", page)
    assert set(re.findall(r'src="([^,"]*)', page)) == {"data:image/svg+xml;base64"}
    assert "A2C &lt;fast&gt;" in page
    assert "&lt;script&gt;" in page


def test_the_page_lists_failures_and_missing_runs(published):
    page = (published[0] / "report.html").read_text()
    assert "17 of 27 runs finished" in page
    assert "9 failed" in page
    assert "1 not run" in page
    assert "B · Acrobot-v1 · seed 2" in page
    assert "No reference, so no score: Acrobot-v1." in page


def test_the_page_names_the_command(tmp_path):
    store = filled(tmp_path)
    runner.write_manifest(grid(), tmp_path, "sb3-course run my.yaml", 2, 0.0)
    page = report.publish(grid(), store).read_text()
    assert "sb3-course run my.yaml" in page
    assert json.loads((tmp_path / "manifest.json").read_text())["versions"]["torch"] in page


def test_a_page_without_any_result(tmp_path):
    page = report.publish(grid(), Store(tmp_path)).read_text()
    assert "27 not run" in page
    assert "<img" not in page


def test_an_algorithm_keeps_its_colour():
    three = plots.palette(["a", "b", "c"])
    assert len(set(three.values())) == 3
    assert plots.palette(["a", "b"]) == {name: three[name] for name in ("a", "b")}


@pytest.mark.parametrize("n", [1, 4, 5])
def test_every_panel_that_shows_belongs_to_an_environment(n):
    names = [f"World{i}" for i in range(n)]
    table = pd.DataFrame(
        [
            {"environment": e, "algorithm": "A", "seed": s, "step": t, "return_mean": t + s}
            for e in names
            for s in range(2)
            for t in (0, 10)
        ]
    )
    figure = plots.learning_curves(table, names, ["A"])
    shown = [axes.get_title() for axes in figure.axes if axes.axison]
    assert shown == names
