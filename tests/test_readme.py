"""README.md and the stored results agree."""

import importlib
import importlib.util
import json
import re
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from sb3_course.benchmark import run_grid
from sb3_course.benchmark.definition.grid import load_grid
from sb3_course.benchmark.statistics.analysis import complete_runs
from sb3_course.benchmark.statistics.design import design_of
from sb3_course.benchmark.statistics.hypothesis_tests.permutation_test import holm, p_value
from sb3_course.benchmark.storage.result import RunResult, parsed, text_of
from sb3_course.benchmark.storage.returns_table import tidy
from sb3_course.benchmark.storage.rounds import read_rounds, with_rounds
from sb3_course.benchmark.storage.store import Store
from tests.benchmark.helpers import GRIDS, content

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
PACKED = [
    path
    for path in sorted(ROOT.glob("results/*/runs.jsonl"))
    if not path.parent.name.startswith("imitation")
]
PUBLISHED = [path for path in GRIDS if (ROOT / f"results/{path.stem}/returns.csv").exists()]


@pytest.fixture(scope="module")
def readme():
    spec = importlib.util.spec_from_file_location("readme", ROOT / "scripts" / "readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_block_holds_what_the_results_say(readme):
    assert len(readme.BLOCK.findall(README)) == README.count("<!-- results: ") > 0
    assert readme.updated(README) == README, "run: python scripts/readme.py"


@pytest.mark.parametrize(("name", "where"), [("classic", "classic control"), ("mujoco", "the")])
def test_the_pairs_that_are_told_apart_are_counted(name, where):
    grid = load_grid(ROOT / "benchmarks" / f"{name}.yaml")
    returns = tidy(Store(ROOT / "results" / name).read(grid.runs()))
    runs, _ = complete_runs(design_of(grid), returns)
    finals = {
        algorithm: [curves[:, -1] for curves in by_environment.values()]
        for algorithm, by_environment in runs.items()
    }
    p_values = [p_value(finals[x], finals[y]) for x, y in combinations(finals, 2)]
    apart = sum(p <= 0.05 for p in holm(p_values))
    page = (ROOT / "docs" / "results" / "index.md").read_text().replace("\n", " ")
    counted = f"{apart} of {len(p_values)}"
    assert f"{counted} apart on {where}" in page or f"and {counted} on {where}" in page


def test_a_changed_number_is_seen(readme):
    begin = README.index("<!-- results: ")
    at = re.compile(r"\d,\d").search(README, begin).start()
    changed = README[:at] + str((int(README[at]) + 1) % 10) + README[at + 1 :]
    assert readme.updated(changed) == README


def test_a_block_without_its_end_does_not_reach_into_the_next(readme, monkeypatch):
    monkeypatch.setattr(readme, "block", lambda name: f"table of {name}")
    text = "<!-- results: a --> kept\n<!-- results: b --> old <!-- end --> kept"
    expected = "<!-- results: a --> kept\n<!-- results: b -->\n\ntable of b\n\n<!-- end --> kept"
    assert readme.updated(text) == expected


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_published_returns_are_those_of_the_stored_runs(path):
    folder = ROOT / "results" / path.stem
    grid = with_rounds(load_grid(path), read_rounds(folder))
    table = tidy(Store(folder).read(grid.runs()))
    assert (folder / "returns.csv").read_text() == table.to_csv(index=False)


def in_order(text):
    return json.dumps(json.loads(text), sort_keys=True)


@pytest.mark.parametrize("path", PACKED, ids=lambda path: path.parent.name)
def test_packed_runs_are_sorted_and_keep_every_digit(path):
    lines = path.read_text().splitlines()
    results = []
    for line in lines:  # runs that were made before there were digests have none
        has_digest = line[-77:].startswith(',"digest":"')
        result = parsed(line) if has_digest else RunResult.model_validate_json(line)
        if has_digest:  # read with sorted keys, as the digest is computed
            assert in_order(text_of(result)) == in_order(line)
        else:
            assert result.model_dump_json() == line
        results.append(result)
    ids = [result.spec.id for result in results]
    assert ids == sorted(set(ids))
    assert Store(path.parent).finished() >= set(ids)


def test_seeds_of_tuning_are_not_published():
    tried = [load_grid(path) for path in (ROOT / "benchmarks" / "tuning").glob("*.yaml")]
    published = [load_grid(path) for path in PUBLISHED]
    assert tried and published
    for grid in published:
        assert not set(grid.seeds) & {seed for other in tried for seed in other.seeds}


@pytest.mark.parametrize("algorithm", ["NPG", "BatchActorCritic"])
def test_a_cell_is_computed_from_the_runs(readme, algorithm):
    grid = load_grid(ROOT / "benchmarks" / "mujoco.yaml")
    store = Store(ROOT / "results" / "mujoco")
    returns = [
        [np.mean(m.returns) for m in result.measurements]
        for result in store.read(grid.runs())
        if result.spec.names == (algorithm, "HalfCheetah-v4")
    ]
    best, final = np.mean([(max(curve), curve[-1]) for curve in returns], axis=0)
    row = next(
        line
        for line in readme.returns_table(grid, store).splitlines()
        if line.startswith(f"| {algorithm} ")
    )
    # Exact, as every measurement was made at its declared step.
    assert row.split(" | ")[1] == f"{best:,.0f} / {final:,.0f}"


RECIPE = (ROOT / "docs" / "recipes" / "own_algorithm.md").read_text()
EXAMPLE = re.search(r"<!-- example: (\w+)\.py -->\s+```python\n(.*?)```", RECIPE, re.DOTALL)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The example as a user's own module."""
    (tmp_path / f"{EXAMPLE[1]}.py").write_text(EXAMPLE[2])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield importlib.import_module(EXAMPLE[1])
    del sys.modules[EXAMPLE[1]]


def test_it_takes_at_most_forty_lines():
    assert len(EXAMPLE[2].splitlines()) <= 40


def test_it_learns_and_is_saved_and_loaded(module, tmp_path):
    kwargs = {"n_steps": 32, "learning_rate": 1e-3, "gamma": 0.98, "seed": 0, "device": "cpu"}
    model = module.TDActorCritic("MlpPolicy", make_vec_env("CartPole-v1", 8, seed=0), **kwargs)
    before, _ = evaluate_policy(model, make_vec_env("CartPole-v1", 1, seed=1), 20, False)
    model.learn(20_000)
    after, _ = evaluate_policy(model, make_vec_env("CartPole-v1", 1, seed=1), 20, False)
    assert after > 4 * before
    model.save(tmp_path / "model")
    loaded = module.TDActorCritic.load(tmp_path / "model", device="cpu")
    obs = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    actions = [m.predict(obs, deterministic=True)[0] for m in (model, loaded)]
    assert np.array_equal(*actions)


def test_a_grid_takes_it_by_module_and_class(module, tmp_path):
    ours = {"class": f"{EXAMPLE[1]}:TDActorCritic", "params": {"n_steps": 20}}
    grid = content(algorithms={"Mine": ours}, seeds=1)
    outcome = run_grid(grid, results=tmp_path, workers=1, report=False)
    (result,) = outcome.results
    assert result.failure is None
    assert [m.step for m in result.measurements] == [0, 100, 200]


@pytest.mark.parametrize(
    "name",
    [
        *("classic", "defaults", "mujoco", "mujoco_v5", "natural_gradient"),
        *("natural_gradient_ppo", "reuse"),
    ],
)
def test_every_run_names_a_commit(name):
    grid = load_grid(ROOT / "benchmarks" / f"{name}.yaml")
    commits = {
        run.made_with["git_commit"] for run in Store(ROOT / "results" / name).read(grid.runs())
    }
    assert commits and all(re.fullmatch("[0-9a-f]{40}", commit) for commit in commits)
