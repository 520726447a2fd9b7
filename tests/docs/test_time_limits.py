"""What the page on time limits says that each class does with one."""

import re
from pathlib import Path

import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_course import ISPG, NPG, REINFORCE, BatchActorCritic, OnlineActorCritic
from tests.worlds import Scripted

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "algorithms" / "time_limits.md").read_text()
V = 8.0
WHOLE = [
    (cls, {"n_episodes": 3, "baseline": baseline})
    for cls in (REINFORCE, ISPG)
    for baseline in (None, "mean", "optimal", "value")
]
FIXED = [(NPG, {}), *((BatchActorCritic, {"critic_target": y}) for y in ("mc", "td", "gae"))]


def model_of(cls, end, settings):
    """A model that has collected episodes of three steps, whose critic says 8 everywhere."""
    env = DummyVecEnv([lambda: Scripted(end=end)])
    model = cls("MlpPolicy", env, gamma=0.5, seed=0, **settings)
    model.predict_values = lambda obs: np.full(len(obs), V)
    _, callback = model._setup_learn(10**9)
    model.collect_rollouts(model.env, callback)
    return model


@pytest.mark.parametrize("end", ["terminated", "truncated"])
@pytest.mark.parametrize(("cls", "settings"), WHOLE, ids=str)
def test_monte_carlo_holds_a_value_behind_a_limit_with_the_value_baseline_alone(cls, settings, end):
    model = model_of(cls, end, settings)
    last = model.returns_to_go(model.rollout)[model.rollout.ends]
    tail = 0.5 * V if end == "truncated" and settings["baseline"] == "value" else 0.0
    np.testing.assert_allclose(last, 4.0 + tail)


@pytest.mark.parametrize("end", ["terminated", "truncated"])
@pytest.mark.parametrize(("cls", "settings"), FIXED, ids=str)
def test_a_critic_values_what_a_limit_cuts(cls, settings, end):
    model = model_of(cls, end, {"n_steps": 3, **settings})
    _, following = model.predict_rollout(model.rollout)
    assert following.ravel().tolist() == [V, V, V if end == "truncated" else 0.0]
    if settings.get("critic_target") == "mc":
        tail = 0.5 * V if end == "truncated" else 0.0
        assert model.critic_targets(model.rollout)[-1] == 4.0 + tail


@pytest.mark.parametrize("end", ["terminated", "truncated"])
def test_one_step_has_a_value_behind_a_limit(end):
    env = DummyVecEnv([lambda: Scripted(rewards=(1.0,), end=end)])
    model = OnlineActorCritic("MlpPolicy", env, seed=0)
    _, callback = model._setup_learn(10**9)
    model.collect_rollouts(model.env, callback)
    assert model._transition.alive.tolist() == [float(end == "truncated")]
    assert model._transition.next_obs.tolist() == [[1.0]]  # the last one, not the next episode's


def test_the_page_has_all_classes_and_the_numbers_that_its_example_prints(capsys):
    table = PAGE.partition("## What each class does")[2].partition("\n## ")[0]
    for name in ("REINFORCE", "ISPG", "BatchActorCritic", "NPG", "OnlineActorCritic", "DAgger"):
        assert f"[{name}](" in table
    namespace = {"__name__": "page"}
    said = re.findall(r"print\(.*\)  # ([\d.]+)", PAGE) + re.findall(r"`(\w+: \d .*?)`", PAGE)
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        exec(block, namespace)
    printed = capsys.readouterr().out.split("\n")[:-1]
    assert [f"{float(line):.1f}" if line[0].isdigit() else line for line in printed] == said
    assert len(said) == 4
