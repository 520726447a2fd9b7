"""``learn``, its callbacks and its logs work as SB3's do."""

import copy
import gc
import tempfile
from pathlib import Path

import numpy as np
import pytest
from stable_baselines3.common.callbacks import BaseCallback, StopTrainingOnMaxEpisodes
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn

import sb3_course
from tests.contract.helpers import (
    CLASSES,
    copy_parameters,
    equal_tensors,
    every_class,
    every_variant,
    small_model,
    takes,
)
from tests.worlds import Scripted


class Bonus(BaseCallback):
    """Adds to the rewards in place, as an exploration bonus does."""

    def _on_step(self):
        self.locals["rewards"][:] += np.arange(len(self.locals["rewards"]))
        return True


@every_class
def test_rewards_that_a_callback_changes_are_learned_from(algorithm):
    plain, changed = (
        copy_parameters(small_model(algorithm, "Pendulum-v1").learn(450, callback))
        for callback in (None, Bonus())
    )
    assert not equal_tensors(plain, changed)


class Count(BaseCallback):
    """Counts its own calls and sums the rewards it sees."""

    def __init__(self):
        super().__init__()
        self.steps, self.starts, self.ends, self.rewards = 0, 0, 0, 0.0

    def _on_step(self):
        self.steps += 1
        self.rewards += self.locals["rewards"].sum()
        assert {"infos", "dones", "new_obs", "actions", "clipped_actions"} <= self.locals.keys()
        return True

    def _on_rollout_start(self):
        self.starts += 1

    def _on_rollout_end(self):
        self.ends += 1


@every_class
def test_callbacks_see_every_step(algorithm):
    count = Count()
    model = small_model(algorithm, "CartPole-v1").learn(300, callback=count)
    assert count.steps * 2 == model.num_timesteps == count.rewards
    assert count.starts == count.ends > 0


@every_class
def test_learning_continues_after_a_callback_has_stopped_it(algorithm):
    batch = {"n_steps": 500} if takes(algorithm, "n_steps") else {}
    model = small_model(algorithm, "CartPole-v1", **batch)
    model.learn(10_000, callback=StopTrainingOnMaxEpisodes(4))
    assert model.num_timesteps < 1000
    steps = model.num_timesteps
    model.learn(100, reset_num_timesteps=False)
    assert model.num_timesteps > steps


@every_class
def test_learning_continues_in_the_environments_that_set_env_is_given(algorithm):
    class Watch(BaseCallback):
        def _on_step(self):
            assert self.training_env is env
            return True

    model = small_model(algorithm, "CartPole-v1").learn(50)
    env = make_vec_env("CartPole-v1", 2)
    model.set_env(env)
    before = model.num_timesteps
    model.learn(50, callback=Watch(), reset_num_timesteps=False)
    assert model.num_timesteps >= before + 50


@every_class
def test_an_interrupted_batch_is_discarded(algorithm):
    class Interrupt(BaseCallback):
        def _on_step(self):
            if self.n_calls == 7:
                raise KeyboardInterrupt
            return True

    model = small_model(algorithm, DummyVecEnv([lambda: Scripted(rewards=(1.0,) * 10)]))
    with pytest.raises(KeyboardInterrupt):
        model.learn(100, callback=Interrupt())
    seen = []

    class Watch(BaseCallback):
        def _on_rollout_start(self):
            if not seen and model._last_obs is not None:
                seen.append(model._last_obs.item())

        def _on_step(self):
            seen.append(self.locals["new_obs"].item())
            return True

    model.learn(20, callback=Watch(), reset_num_timesteps=False)
    # An algorithm without batches continues where the environment is.
    assert seen[0] == (7.0 if algorithm is sb3_course.OnlineActorCritic else 0.0)


@pytest.mark.parametrize("algorithm", [c for c in CLASSES if c is not sb3_course.OnlineActorCritic])
def test_a_callback_finds_the_observations_that_were_acted_on(algorithm):
    """As in SB3, where the model has the last observations until the callbacks have been called."""

    class Watch(BaseCallback):
        def _on_rollout_start(self):
            self.before = model._last_obs.copy()

        def _on_step(self):
            assert (model._last_obs == self.before).all()
            assert (model._last_episode_starts == (self.before == 0).ravel()).all()
            self.before = self.locals["new_obs"].copy()
            return True

    model = small_model(algorithm, DummyVecEnv([lambda: Scripted(rewards=(1.0,) * 5)]))
    model.learn(40, callback=Watch())


@every_class
def test_a_callback_finds_the_batch_at_the_end_of_a_rollout(algorithm):
    class Watch(BaseCallback):
        def _on_step(self):
            self.last = self.locals["dones"].copy()
            return True

        def _on_rollout_end(self):
            assert (self.locals["dones"] == self.last).all()
            if algorithm is sb3_course.OnlineActorCritic:  # its batch is the step
                assert self.locals["values"].shape == self.locals["log_probs"].shape
                return
            rollout = self.locals["rollout"]
            assert rollout is self.model.rollout
            assert (rollout.ends[-1] == self.last).all()

    small_model(algorithm, "CartPole-v1").learn(200, callback=Watch())


@every_class
def test_the_log_holds_the_common_keys_and_its_folder_the_classs_name(algorithm, tmp_path, capsys):
    model = small_model(algorithm, "CartPole-v1", tensorboard_log=str(tmp_path), verbose=1)
    interval = {"log_interval": 20} if algorithm is sb3_course.OnlineActorCritic else {}
    model.learn(200, progress_bar=True, **interval)
    out = capsys.readouterr().out
    for key in ("ep_rew_mean", "policy_gradient_loss", "grad_norm", "entropy_loss", "fps"):
        assert key in out
    assert [p.name for p in tmp_path.iterdir()] == [f"{algorithm.__name__}_1"]


@every_class
def test_episode_statistics_leave_out_steps_that_do_not_count(algorithm):
    class CountEnded(BaseCallback):
        n = 0

        def _on_step(self):
            self.n += (self.locals["dones"] & self.locals["running"]).sum()
            return True

    ended = CountEnded()
    model = small_model(algorithm, "CartPole-v1").learn(200, callback=ended)
    assert len(model.ep_info_buffer) == ended.n > 0


@every_variant
def test_the_same_seed_gives_the_same_parameters_bit_for_bit(algorithm, kwargs):
    def train(seed):
        return copy_parameters(
            small_model(algorithm, "CartPole-v1", **kwargs | {"seed": seed}).learn(300)
        )

    first = train(seed=0)
    assert equal_tensors(first, train(seed=0))
    assert not equal_tensors(first, train(seed=1))


@every_class
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ELU])
def test_a_deep_copy_learns_without_changing_the_original(activation, algorithm):
    policy_kwargs = {"activation_fn": activation}
    model = small_model(algorithm, "Pendulum-v1", policy_kwargs=policy_kwargs).learn(450)
    clone = copy.deepcopy(model)
    before = copy_parameters(model)
    clone.learn(450)
    assert equal_tensors(before, copy_parameters(model))
    assert not equal_tensors(before, copy_parameters(clone))


@every_class
def test_no_empty_folder_is_left_where_nothing_is_logged_to_files(algorithm, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for verbose in (0, 1):
        small_model(algorithm, "CartPole-v1", verbose=verbose).learn(30)
    gc.collect()  # model and callbacks refer to each other
    assert list(tmp_path.glob("SB3-*")) == []


@every_class
def test_a_callback_may_write_to_the_loggers_folder(algorithm, tmp_path, monkeypatch):
    class Writes(BaseCallback):
        def _on_step(self):
            (Path(self.logger.get_dir()) / "mine.txt").write_text("kept")
            return True

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    small_model(algorithm, "CartPole-v1").learn(30, Writes())
    gc.collect()
    assert [path.read_text() for path in tmp_path.glob("SB3-*/mine.txt")] == ["kept"]


def imitator(algorithm):
    demonstrations = {"obs": np.zeros((30, 4)), "acts": np.zeros(30, dtype=int)}
    settings = {"batch_size": 10, "seed": 0, "device": "cpu"}
    if algorithm is sb3_course.DAgger:
        settings |= {"n_steps": 10, "gradient_steps": 2, "n_eval_episodes": 0}
        settings |= {"expert": lambda obs: np.zeros(len(obs), dtype=int)}
    return algorithm("MlpPolicy", "CartPole-v1", demonstrations=demonstrations, **settings)


@pytest.mark.parametrize("algorithm", [*CLASSES, sb3_course.BC, sb3_course.DAgger])
def test_there_are_no_logs_without_an_interval(algorithm):
    pg = algorithm in CLASSES
    model = small_model(algorithm, "CartPole-v1") if pg else imitator(algorithm)
    model.set_logger(Logger(None, [Refuse()]))
    model.learn(150, log_interval=None)
    assert model.num_timesteps >= 150
    for interval in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="log_interval must be a whole number of at least 1"):
            model.learn(150, log_interval=interval)


class Refuse(KVWriter):
    """Refuses every log."""

    def write(self, key_values, key_excluded, step=0):
        raise AssertionError(f"logged {sorted(key_values)}")

    def close(self):
        pass
