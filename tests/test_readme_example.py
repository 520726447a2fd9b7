"""The algorithm in README.md is complete: it learns, is saved and loaded, and runs in a grid."""

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from sb3_course.benchmark import run_grid
from tests.benchmark.helpers import content

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()
EXAMPLE = re.search(r"<!-- example: (\w+)\.py -->\s+```python\n(.*?)```", README, re.DOTALL)


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
