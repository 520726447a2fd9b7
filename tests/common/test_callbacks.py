import errno
import re

import pytest
from stable_baselines3 import A2C
from stable_baselines3.common.logger import KVWriter, Logger

from sb3_course import NPG, REINFORCE, OnlineActorCritic
from sb3_course.common.callbacks import EvaluateEvery, SaveEvery
from sb3_course.envs import EnvConfig, make_vec_env
from tests.contract.helpers import copy_parameters, equal_tensors, small_model


def test_a_model_is_saved_at_multiples_between_two_batches():
    saved, told = [], []
    model = A2C("MlpPolicy", "CartPole-v1", n_steps=30, device="cpu")
    callback = SaveEvery(100, lambda m: saved.append((m.num_timesteps, m._n_updates)), told.append)
    model.learn(500, callback)
    assert saved == [(120, 4), (210, 7), (300, 10), (420, 14)]
    assert told == []
    model.learn(100, callback, reset_num_timesteps=False)
    assert saved[4:] == [(600, 20)]


def test_a_full_disk_is_told_once_and_training_goes_on():
    told = []

    def save(model):
        raise OSError(errno.ENOSPC, "No space left on device", "model.zip")

    model = A2C("MlpPolicy", "CartPole-v1", n_steps=10, device="cpu")
    model.learn(200, SaveEvery(50, save, told.append))
    assert model.num_timesteps == 200
    (line,) = told
    assert line.startswith("not saved at 50 steps: ") and "No space left" in line


@pytest.mark.parametrize("algorithm", [A2C, REINFORCE])
def test_evaluations_are_logged_and_disturb_nothing(algorithm):
    def trained(*callbacks):
        model = algorithm("MlpPolicy", "CartPole-v1", n_steps=50, seed=0, device="cpu")
        model.learn(300, list(callbacks))
        return model

    told = []
    model = trained(EvaluateEvery(100, "CartPole-v1", episodes=3, seed=0, tell=told.append))
    assert [line.split(" steps: return ")[0] for line in told][:3] == ["100", "200", "300"]
    assert "over 3 episodes" in told[0]
    assert equal_tensors(copy_parameters(trained()), copy_parameters(model))


class Kept(KVWriter):
    """Keeps what is logged, by step."""

    def __init__(self):
        self.evaluations = {}

    def write(self, key_values, key_excluded, step=0):
        if "eval/mean_reward" in key_values:
            self.evaluations[step] = dict(key_values)

    def close(self):
        pass


def logging(model):
    """Let a model log to memory, and return where."""
    kept = Kept()
    model.set_logger(Logger(None, [kept]))
    return kept.evaluations


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"every": 0}, "every must be a whole number of at least 1"),
        ({"episodes": 0}, "episodes must be"),
        ({"seed": -5}, "seed must be a whole number from 0"),
        ({"seed": 1.5}, "seed must be"),
        ({"seed": "0"}, "seed must be"),
        ({"env": make_vec_env("CartPole-v1")}, "env must be a Gymnasium id, a function"),
    ],
)
def test_arguments_of_an_evaluation_are_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        EvaluateEvery(**{"every": 10, "env": "CartPole-v1", "episodes": 2, "seed": 0} | changes)


def test_a_save_is_not_every_0_steps():
    with pytest.raises(ValueError, match="every must be a whole number of at least 1"):
        SaveEvery(0, print, print)


def test_a_model_without_a_seed_is_evaluated_as_with_seed_0():
    found = []
    for seed in (None, 0):
        model = NPG("MlpPolicy", "CartPole-v1", n_steps=50, seed=1, device="cpu")
        evaluations = logging(model)
        model.learn(100, EvaluateEvery(100, "CartPole-v1", 2, seed), log_interval=None)
        found.append(evaluations[100]["eval/mean_reward"])
    assert found[0] == found[1]


def test_an_evaluation_has_sb3s_keys():
    model = small_model(REINFORCE, "CartPole-v1")
    evaluations = logging(model)
    model.learn(50, EvaluateEvery(20, "CartPole-v1", 2, 0))
    logged = evaluations[40]
    assert logged["eval/mean_reward"] == logged["eval/mean_ep_length"] > 5
    assert "eval/success_rate" not in logged


def test_an_evaluation_knows_success_and_the_settings_of_its_environment():
    config = EnvConfig("tests.own_envs:Walk-v0", {"goal": 0.0}, time_limit=3)
    model = small_model(REINFORCE, make_vec_env(config, backend="dummy"))
    evaluations = logging(model)
    model.learn(30, EvaluateEvery(20, config, 10, 0))
    assert 0 < evaluations[20]["eval/success_rate"] < 1  # some begin at the goal
    assert evaluations[20]["eval/mean_ep_length"] <= 3


@pytest.mark.parametrize("algorithm", [A2C, NPG, REINFORCE, OnlineActorCritic])
def test_every_evaluation_is_in_the_log_however_rarely_the_training_logs(algorithm):
    """As SB3's EvalCallback has it: the next one would replace it, and none follows the last."""
    kwargs = {} if algorithm is OnlineActorCritic else {"n_steps": 150}
    model = algorithm("MlpPolicy", "CartPole-v1", seed=0, device="cpu", **kwargs)
    evaluations, lines = logging(model), []
    model.learn(300, EvaluateEvery(50, "CartPole-v1", 2, 0, lines.append), log_interval=1000)
    assert len(evaluations) == len(lines) >= 6
    for (step, logged), line in zip(evaluations.items(), lines, strict=True):
        told = re.fullmatch(rf"{step:,} steps: return ([\d.]+) ± [\d.]+ over 2 episodes", line)[1]
        assert float(told) == pytest.approx(logged["eval/mean_reward"], abs=0.5)
