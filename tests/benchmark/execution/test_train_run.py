import json

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_course.benchmark.execution.heartbeat import heartbeat_file, heartbeats
from sb3_course.benchmark.execution.train_run import KEPT, portable, run_one
from sb3_course.benchmark.storage.result import RunResult
from sb3_course.common.evaluation import EvaluationCallback, evaluate, evaluation_envs
from tests.benchmark.helpers import HERE, changed, tiny

SPEC = tiny().runs()[0]


class Countdown(gymnasium.Env):
    """Ends after a number of steps drawn at its reset; each step is rewarded with 1."""

    observation_space = spaces.Box(-1, 1, (1,))
    action_space = spaces.Discrete(2)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(1, 60))
        self.drawn = [*getattr(self, "drawn", []), self.left]
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.left -= 1
        return np.zeros(1, np.float32), 1.0, self.left == 0, False, {}


def trained(callback):
    env = VecNormalize(make_vec_env("CartPole-v1", n_envs=2, seed=3))
    model = A2C("MlpPolicy", env, seed=3, device="cpu")
    return model.learn(300, callback=callback)


def test_evaluation_leaves_training_and_statistics_as_they_were():
    callback = EvaluationCallback("CartPole-v1", [0, 50, 100, 300], 4, seed=3)
    measured, plain = trained(callback), trained(None)
    assert [m.step for m in callback.measurements] == [0, 50, 100, 300]
    for a, b in zip(measured.policy.parameters(), plain.policy.parameters(), strict=True):
        assert torch.equal(a, b)
    ours, theirs = measured.get_env().obs_rms, plain.get_env().obs_rms
    assert np.array_equal(ours.mean, theirs.mean)
    assert np.array_equal(ours.var, theirs.var)
    assert ours.count == theirs.count


def test_evaluation_uses_the_training_statistics():
    model = trained(None)
    envs = evaluation_envs("CartPole-v1", 5)
    before, _ = evaluate(model, envs, seed=0)
    again, _ = evaluate(model, envs, seed=0)
    model.get_env().obs_rms.mean += 5.0
    after, _ = evaluate(model, envs, seed=0)
    assert np.array_equal(before, again)
    assert not np.array_equal(before, after)


def test_each_environment_counts_with_its_first_episode_alone():
    envs = DummyVecEnv([Countdown] * 50)
    model = A2C("MlpPolicy", envs, device="cpu")
    returns, lengths = evaluate(model, envs, seed=11)
    first = [env.drawn[0] for env in envs.envs]
    assert any(len(env.drawn) > 2 for env in envs.envs)  # the short ones went on
    assert returns.tolist() == first
    assert lengths.tolist() == first


def test_the_same_spec_gives_the_same_returns():
    one, two = run_one(SPEC), run_one(SPEC)
    assert [m.returns for m in one.measurements] == [m.returns for m in two.measurements]
    assert [m.step for m in one.measurements] == [0, 100, 200]
    assert all(m.num_timesteps >= m.step for m in one.measurements)
    assert [len(m.returns) for m in one.measurements] == [3, 3, 3]


def test_a_run_writes_its_heartbeat(tmp_path):
    path = heartbeat_file(tmp_path, SPEC.id)
    run_one(SPEC, path)
    ((key, heartbeat),) = heartbeats(tmp_path)
    assert key == SPEC.id
    assert 0 < heartbeat.steps <= 200
    assert heartbeat.rate > 0


def test_seeds_do_not_share_evaluation_episodes():
    returns = [run_one(tiny(seeds=[s]).runs()[0]).measurements[0].returns for s in (0, 1)]
    assert returns[0] != returns[1]


def test_wall_time_leaves_evaluation_out():
    now = [0.0]

    class Step(BaseCallback):
        def _on_step(self):
            now[0] += 1.0
            return True

    def clock():
        now[0] += 100.0  # each look at the clock stands for a slow evaluation
        return now[0]

    callback = EvaluationCallback("CartPole-v1", [0, 100, 200], 2, seed=0, clock=clock)
    model = A2C("MlpPolicy", make_vec_env("CartPole-v1", n_envs=2), device="cpu")
    model.learn(200, callback=[Step(), callback])
    times = [m.wall_time for m in callback.measurements]
    # 50 and 100 vector steps of 1 s, and a look at the clock between two measurements.
    assert np.diff(times).tolist() == [150.0, 150.0]


def test_training_that_ends_early_is_an_error():
    class Stop(BaseCallback):
        def _on_step(self):
            return self.num_timesteps < 100

    callback = EvaluationCallback("CartPole-v1", [0, 200], 2, seed=0)
    model = A2C("MlpPolicy", make_vec_env("CartPole-v1"), device="cpu")
    with pytest.raises(RuntimeError, match="measurements due at"):
        model.learn(200, callback=[callback, Stop()])


def test_normalized_runs_report_raw_returns():
    result = run_one(changed(SPEC, normalize=True, total_timesteps=100, evaluation_steps=[0, 100]))
    assert all(r == int(r) and r >= 8 for m in result.measurements for r in m.returns)


def test_texts_are_freed_of_this_machines_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert portable(f'File "{tmp_path}/grid.py"') == 'File "./grid.py"'


def test_any_text_can_be_kept_as_the_reason_of_a_failure():
    result = RunResult(spec=tiny().runs()[0], failure=portable("file \udcff"))
    assert json.loads(result.model_dump_json())["failure"] == "file \\udcff"


def test_a_failing_run_raises_when_run_alone():
    with pytest.raises(ZeroDivisionError):
        run_one(changed(SPEC, algorithm_class=f"{HERE}:Raises"))


def test_returns_that_are_no_numbers_stop_the_run():
    callback = EvaluationCallback(f"{HERE}:NaNRewards-v0", [0], 2, seed=0)
    with pytest.raises(ValueError, match=r"at environment step 0 gave the returns \[nan, nan\]"):
        trained(callback)


def test_a_failures_text_is_bounded_and_printable():
    text = portable("first" + "y" * 100_000 + "\x1b[31m last")
    assert len(text) == KEPT
    assert text.endswith("[31m last")
    assert "\x1b" not in text
