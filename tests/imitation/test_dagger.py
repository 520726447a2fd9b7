import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from gymnasium.envs.classic_control import CartPoleEnv
from imitation.algorithms.dagger import LinearBetaSchedule
from imitation.util import logger as imitation_logger
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import (
    VecExtractDictObs,
    VecFrameStack,
    VecNormalize,
    unwrap_vec_normalize,
)

import sb3_course
from sb3_course import DAgger, loading
from sb3_course.common.errors import UserError
from sb3_course.imitation import BC, ExponentialBeta, LinearBeta, dagger, demonstrate
from tests.contract.helpers import ACTIONS, OBSERVATIONS, any_env
from tests.imitation.helpers import balance
from tests.imitation.test_bc import SaveOnce, endless, same, samples

SMALL = {
    "n_steps": 20,
    "gradient_steps": 5,
    "batch_size": 16,
    "n_eval_episodes": 0,
    "seed": 0,
    "device": "cpu",
}


def balance_last(obs):
    """Balance by the newest of stacked observations."""
    return balance(obs[:, -4:])


def cartpole(n_envs=2, wrap=lambda venv: venv):
    return wrap(make_vec_env("CartPole-v1", n_envs, seed=0))


def small(env=None, expert=balance, **kwargs):
    return DAgger("MlpPolicy", env or cartpole(), expert, **SMALL | kwargs)


class Recorder(KVWriter):
    """Records the values of each log."""

    def __init__(self, model):
        self.rows = []
        model.set_logger(Logger(None, [self]))

    def write(self, key_values, key_excluded, step=0):
        self.rows.append(dict(key_values))

    def close(self):
        pass


def test_a_few_rounds_learn_to_balance_the_pole():
    """The seed fixes the result; with another one three rounds may not be enough."""
    rate = LinearSchedule(5e-3, 0.0, 1.0)
    model = small(n_steps=150, gradient_steps=200, learning_rate=rate, n_eval_episodes=3)
    model.learn(3 * 300)
    assert model.rounds[-1]["eval/mean_reward"] > 450


# -- rounds --------------------------------------------------------------------------------------


def test_round_0_is_behavioral_cloning_of_the_demonstrations():
    env = cartpole()
    given = demonstrate(balance, env, 2, seed=0)
    whole = {"batch_size": len(given[0]) + len(given[1])}  # minibatches have seeds of their own
    dagger = small(demonstrations=given, **whole)
    dagger.learn(0)
    clone = BC("MlpPolicy", env, given, seed=0, device="cpu", **whole)
    assert not same(dagger, clone)
    assert same(dagger, clone.learn(5 * whole["batch_size"]))
    assert dagger.env_steps == dagger.expert_queries == dagger.num_timesteps == 0
    assert dagger.n_rounds == 1 and dagger._n_updates == 5


def test_without_demonstrations_the_expert_plays_round_0():
    played = []

    class Watch(BaseCallback):
        def _on_step(self):
            played.append(self.locals["clipped_actions"])
            return True

    model = small()
    model.learn(40, Watch())
    np.testing.assert_array_equal(np.concatenate(played), model.dataset.actions)
    assert model.n_rounds == 1 and model.rounds[0]["dagger/beta"] == 1.0


@pytest.mark.parametrize("n_envs", [1, 3])
def test_rounds_aggregate_the_experts_labels_of_the_policys_states(n_envs):
    given = demonstrate(balance, cartpole(), 1, seed=0)
    model = small(cartpole(n_envs), demonstrations=given)
    model.learn(3 * 20 * n_envs)
    n = len(given[0])
    assert model.num_timesteps == model.env_steps == model.expert_queries == 60 * n_envs
    assert model.dataset.size == n + 60 * n_envs and model.n_rounds == 4
    np.testing.assert_array_equal(model.dataset.obs[:n], given[0].obs[:-1])
    np.testing.assert_array_equal(model.dataset.actions, balance(model.dataset.obs))
    assert model._n_updates == 4 * 5


def test_each_round_begins_new_episodes():
    starts = []

    class Watch(BaseCallback):
        def _on_rollout_start(self):
            starts.append(self.training_env.venv.buf_obs[None].copy())

        def _on_step(self):
            return True

    model = small(cartpole(2, VecNormalize))
    model.learn(120, Watch())
    assert len(starts) == len({start.tobytes() for start in starts}) == 3
    assert np.abs(starts).max() <= 0.05  # CartPole begins there, and leaves it


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (0.0, [1, 0, 0, 0]),
        (0.25, [1, 0.25, 0.25, 0.25]),
        (LinearBeta(3), [1, 2 / 3, 1 / 3, 0]),
        (LinearBetaSchedule(3), [1, 2 / 3, 1 / 3, 0]),
        (ExponentialBeta(0.5), [1, 0.5, 0.25, 0.125]),
        (lambda number: 1 / (1 + number), [1, 1 / 2, 1 / 3, 1 / 4]),
    ],
)
def test_beta_follows_its_schedule(schedule, expected):
    model = small(beta_schedule=schedule)
    model.learn(4 * 40)
    assert [r["dagger/beta"] for r in model.rounds] == pytest.approx(expected)


def test_beta_is_the_probability_that_the_expert_acts():
    """Among 500 draws, within 5 standard deviations, which 1 in 10^6 seeds would miss."""
    chosen = []

    class Watch(BaseCallback):
        def _on_step(self):
            chosen.extend(self.locals["clipped_actions"])
            return True

    env = any_env(action_space=spaces.Discrete(1000), n_envs=5)
    model = small(env, lambda obs: np.full(len(obs), 7), beta_schedule=0.5, n_steps=100)
    model.learn(500)
    model.learn(500, Watch(), reset_num_timesteps=False)
    share = np.mean(np.array(chosen) == 7)
    assert abs(share - 0.5) < 5 * np.sqrt(0.25 / 500)
    assert (model.dataset.actions == 7).all()


@pytest.mark.parametrize("schedule", [lambda n: 1.5, lambda n: -0.1])
def test_a_beta_that_is_no_probability_is_refused(schedule):
    with pytest.raises(ValueError, match=r"beta_schedule.*round 1"):
        small(beta_schedule=schedule).learn(200)


def test_the_control_trains_as_often_without_new_data():
    def refuse(obs):
        raise AssertionError("the control calls no expert")

    given = demonstrate(balance, cartpole(), 1, seed=0)
    model = small(expert=refuse, demonstrations=given, collect=False)
    model.learn(3 * 40)
    assert model.n_rounds == 4 and model._n_updates == 20 and model.num_timesteps == 120
    assert model.env_steps == model.expert_queries == 0
    assert model.dataset.size == len(given[0])


def test_without_demonstrations_the_control_keeps_those_of_round_0():
    model = small(collect=False)
    model.learn(3 * 40)
    assert model.n_rounds == 3 and model.env_steps == model.dataset.size == 40


def test_the_learning_rate_falls_in_each_round():
    rates = []

    class Adam(th.optim.Adam):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    policy_kwargs = {"optimizer_class": Adam}
    small(learning_rate=lambda p: p, policy_kwargs=policy_kwargs).learn(80)
    assert rates == pytest.approx([1, 0.8, 0.6, 0.4, 0.2] * 2)


def test_the_loss_of_a_round_is_kept_whatever_the_logger():
    model = small()
    model.set_logger(imitation_logger.configure(None, []))
    model.learn(40)
    assert model.rounds and all(row["train/loss"] > 0 for row in model.rounds)


# -- logs and evaluation -------------------------------------------------------------------------


def test_every_round_is_logged():
    model = small(n_steps=100, n_eval_episodes=3)
    recorder = Recorder(model)
    model.learn(3 * 200)
    assert len(recorder.rows) == 3
    names = {
        "dagger/round",
        "dagger/beta",
        "dagger/env_steps",
        "dagger/expert_queries",
        "dagger/n_transitions",
        "dagger/expert_action_loss",
        "rollout/ep_rew_mean",
        "eval/mean_reward",
        "eval/std_reward",
        "eval/min_reward",
        "eval/max_reward",
        "eval/mean_ep_length",
        "train/loss",
        "time/time_elapsed",
        "time/total_timesteps",
    }
    for number, row in enumerate(recorder.rows):
        assert names <= row.keys()
        assert row["dagger/round"] == number
        assert row["dagger/env_steps"] == row["dagger/expert_queries"] == 200 * (number + 1)
        assert row["eval/min_reward"] <= row["eval/mean_reward"] <= row["eval/max_reward"]
        assert row["eval/mean_reward"] == row["eval/mean_ep_length"]  # rewards of 1
    assert recorder.rows[0]["rollout/ep_rew_mean"] == 100.0  # the expert never falls
    assert (
        recorder.rows[2]["dagger/expert_action_loss"]
        < recorder.rows[0]["dagger/expert_action_loss"]
    )


def test_the_logged_return_is_of_raw_rewards():
    model = small(cartpole(2, VecNormalize), n_steps=150, beta_schedule=1.0)
    model.learn(600)
    assert model.rounds[-1]["rollout/ep_rew_mean"] == 150.0


def test_the_policy_is_evaluated_in_eval_env():
    envs = cartpole(4)
    model = small(eval_env=envs)
    model.learn(40)
    assert 5 < model.rounds[0]["eval/mean_reward"] <= 500
    envs.reset()  # not closed


@pytest.mark.parametrize("wrap", [lambda venv: venv, VecNormalize], ids=["raw", "normalized"])
@pytest.mark.parametrize("stacked", [False, True])
def test_an_evaluation_environment_may_be_normalized(wrap, stacked):
    """It is normalized with the statistics of the training, and keeps its own."""

    def env(wrapper):
        venv = VecNormalize(cartpole(2), norm_obs=False) if stacked else wrap(cartpole(2))
        return VecFrameStack(venv, 2) if stacked else venv, wrapper(cartpole(3))

    def outer(venv):
        return VecFrameStack(venv, 2) if stacked else venv

    training, evaluated = env(lambda venv: outer(VecNormalize(venv)))
    normalizer = unwrap_vec_normalize(evaluated)
    before = copy.deepcopy(normalizer.obs_rms)
    found = small(training, eval_env=evaluated, expert=balance_last).learn(40).rounds
    training, evaluated = env(outer)
    assert small(training, eval_env=evaluated, expert=balance_last).learn(40).rounds == found
    assert found[0]["eval/mean_reward"] == found[0]["eval/mean_ep_length"]
    assert normalizer.training and normalizer.norm_obs and normalizer.norm_reward
    np.testing.assert_array_equal(before.mean, normalizer.obs_rms.mean)


def test_the_trainings_own_normalization_is_no_evaluation_environment():
    env = cartpole(2, VecNormalize)
    model = small(env, eval_env=env)
    with pytest.raises(ValueError, match="the training's own VecNormalize; allowed"):
        model.learn(40)
    assert env.training and env.norm_obs and env.norm_reward
    raw = cartpole(2)
    assert small(raw, eval_env=raw).learn(40).rounds[0]["eval/mean_reward"] > 0


def test_an_evaluation_environment_is_raw_during_evaluations_alone():
    evaluated, modes = VecNormalize(cartpole(2)), []
    model = small(cartpole(2, VecNormalize), eval_env=evaluated)
    model.learn(80, lambda *_: modes.append(evaluated.norm_obs) or True)
    assert modes == [True] * 40


def test_an_evaluation_that_is_impossible_warns():
    with pytest.warns(UserWarning, match="pass eval_env"):
        small(any_env(), lambda obs: np.zeros(len(obs)), n_eval_episodes=2).learn(40)


def test_learning_prints_nothing_and_writes_nothing(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small(n_eval_episodes=1).learn(80)
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


# -- memory --------------------------------------------------------------------------------------


def test_labels_without_a_finite_loss_do_not_join_the_data():
    def far(obs):
        return np.full((len(obs), 1), 1e30)

    model = small("Pendulum-v1", far)
    with pytest.raises(FloatingPointError, match="a loss is inf"):
        model.learn(20)
    assert model.dataset.size == model.n_rounds == 0
    model.expert = lambda obs: np.zeros((len(obs), 1))
    assert model.learn(20).dataset.size == 20


@pytest.mark.parametrize("wrap", [lambda venv: venv, VecNormalize])
@pytest.mark.parametrize("made", ["model", "policy", "file"])
def test_a_model_with_an_expert_can_be_copied_and_pickled(made, wrap, tmp_path):
    a2c = A2C("MlpPolicy", cartpole(wrap=wrap), seed=0)
    loading.save(a2c, tmp_path / "a2c.zip")
    expert = {"model": a2c, "policy": a2c.policy, "file": tmp_path / "a2c.zip"}[made]
    model = small(expert=expert).learn(40)
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    if made != "model":  # SB3's own model with a VecNormalize can be pickled once
        copies.append(pickle.loads(pickle.dumps(copies[-1])))
    obs = model.env.reset()
    acts, _ = model.predict(obs, deterministic=True)
    for copied in copies:
        assert np.array_equal(copied.predict(obs, deterministic=True)[0], acts)
        copied.set_env(cartpole())
        copied.learn(40, reset_num_timesteps=False)
        assert copied.n_rounds == model.n_rounds + 1


def test_the_data_set_is_allocated_once():
    places = []

    class Watch(BaseCallback):
        def _on_rollout_start(self):
            if self.model.n_rounds > 0:
                actions = self.model.dataset.actions
                places.append((self.model.dataset.nbytes, actions.__array_interface__["data"][0]))

        def _on_step(self):
            return True

    capped = small(buffer_size=50)
    capped.learn(10 * 40, Watch())
    assert capped.dataset.size == 50 and len(set(places)) == 1
    np.testing.assert_array_equal(capped.dataset.actions, balance(capped.dataset.obs))
    places.clear()
    given = demonstrate(balance, cartpole(), 1, seed=0)
    small(demonstrations=given).learn(10 * 40, Watch())
    assert len(places) == 10 and len(set(places)) == 1


def test_a_huge_total_that_a_callback_stops_takes_no_more_memory():
    given = demonstrate(balance, cartpole(), 1, seed=0)
    model = small(demonstrations=given)
    model.learn(1e12, callback=lambda local, _: local["n_steps"] < 5)  # a float, as SB3 takes it
    assert model.dataset.nbytes < 2**29
    assert model.learn(40).dataset.size == len(given[0]) + 40


def test_the_logged_loss_is_computed_in_chunks(monkeypatch):
    whole = small(seed=3).learn(80).rounds
    monkeypatch.setattr(dagger, "CHUNK", 7)
    parts = small(seed=3).learn(80).rounds
    for one, other in zip(whole, parts, strict=True):
        key = "dagger/expert_action_loss"
        assert other[key] == pytest.approx(one[key], rel=1e-5)


# -- spaces --------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [0.0, 0.5])
@pytest.mark.parametrize("name", ACTIONS)
def test_rounds_run_in_every_action_space(name, beta):
    env = any_env(action_space=ACTIONS[name])
    space = copy.deepcopy(ACTIONS[name])
    model = small(env, lambda obs: [space.sample() for _ in obs], beta_schedule=beta)
    model.learn(80)
    assert model.n_rounds == 2


@pytest.mark.parametrize("wrap", [lambda venv: venv, VecNormalize], ids=["raw", "normalized"])
@pytest.mark.parametrize("name", ["box64", "dict"])
def test_experts_see_raw_observations(name, wrap):
    space = OBSERVATIONS["box64"] if name == "box64" else spaces.Dict({"a": OBSERVATIONS["box64"]})

    def expert(obs):
        first = obs["a"] if name == "dict" else obs
        assert (
            np.abs(first).max() <= 1.0
        )  # the space's bounds, which normalized observations exceed
        return (first[:, 0] > 0).astype(int)

    policy = "MultiInputPolicy" if name == "dict" else "MlpPolicy"
    model = DAgger(policy, wrap(any_env(space)), expert, beta_schedule=0.5, **SMALL)
    model.learn(120)
    obs = model.dataset.obs["a"] if name == "dict" else model.dataset.obs
    np.testing.assert_array_equal(model.dataset.actions, obs[:, 0] > 0)
    assert obs.dtype == np.float32


@pytest.mark.parametrize("algorithm", [BC, DAgger])
def test_normalization_below_another_wrapper_is_refused(algorithm):
    space = spaces.Dict({"v": spaces.Box(-1, 1, (3,)), "goal": spaces.Box(-1, 1, (2,))})
    with pytest.raises(ValueError, match=r"normalized below VecExtractDictObs.*outermost"):
        algorithm("MlpPolicy", VecExtractDictObs(VecNormalize(any_env(space)), "v"))
    stacked = VecFrameStack(VecNormalize(cartpole()), 2)
    with pytest.raises(ValueError, match=r"normalized below VecFrameStack.*outermost"):
        algorithm("MlpPolicy", stacked)
    model = algorithm("MlpPolicy", VecNormalize(VecFrameStack(cartpole(), 2)))
    before = model.get_env()
    with pytest.raises(ValueError, match=r"normalized below VecFrameStack.*outermost"):
        model.set_env(stacked)
    assert model.get_env() is before


@pytest.mark.parametrize("keys", [["v"], ["v", "goal"]])
def test_some_keys_of_dict_observations_are_normalized(keys):
    """The image is transposed above the normalization, as SB3 does; the expert sees it as it is."""
    space = spaces.Dict(
        {
            "v": spaces.Box(-1, 1, (3,)),
            "goal": spaces.Box(-1, 1, (2,)),
            "image": spaces.Box(0, 255, (36, 37, 3), np.uint8),
        }
    )
    env = VecNormalize(any_env(space), norm_obs_keys=keys)
    seen = []

    def expert(obs):
        seen.append(obs)
        return np.zeros(len(obs["v"]), dtype=int)

    model = DAgger("MultiInputPolicy", env, expert, **SMALL | {"n_steps": 8}).learn(16)
    assert seen[0]["image"].shape[1:] == (36, 37, 3)
    data = model.dataset.obs
    assert data["image"].shape[1:] == model.observation_space["image"].shape == (3, 36, 37)
    assert np.abs(data["v"]).max() <= 1  # raw
    for key in keys:
        np.testing.assert_allclose(env.obs_rms[key].mean, data[key].mean(axis=0), atol=1e-3)
    cloned = BC("MultiInputPolicy", env, {"obs": data, "acts": model.dataset.actions})
    cloned.learn(50)


def test_images_whose_rewards_alone_are_normalized():
    space = spaces.Box(0, 255, (36, 37, 3), np.uint8)
    env = VecNormalize(any_env(space), norm_obs=False)

    def expert(obs):
        return np.zeros(len(obs), dtype=int)

    model = DAgger("CnnPolicy", env, expert, **SMALL | {"n_steps": 8}).learn(16)
    assert model.dataset.obs.shape[1:] == (3, 36, 37)


def test_statistics_come_only_from_the_data_set():
    env = cartpole(2, VecNormalize)
    model = small(env)
    model.learn(120)
    np.testing.assert_allclose(env.obs_rms.mean, model.dataset.obs.mean(axis=0), atol=1e-4)
    assert env.obs_rms.count == pytest.approx(120, abs=1) and env.training


# -- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda venv: venv, VecNormalize], ids=["raw", "normalized"])
@pytest.mark.parametrize("stop", [40, 47, 60])
@pytest.mark.parametrize("kwargs", [{}, {"beta_schedule": LinearBeta(3), "buffer_size": 70}])
def test_learning_continues_from_a_file_bit_for_bit(tmp_path, wrap, stop, kwargs):
    """Saved between two rounds, or inside one, which is then repeated."""
    rate = {"learning_rate": lambda p: 1e-2 * p}
    whole = small(cartpole(2, wrap), **kwargs, **rate)
    whole.learn(4 * 40, SaveOnce(stop, tmp_path / "dagger"))
    later = DAgger.load(tmp_path / "dagger", env=cartpole(2, wrap), device="cpu", expert=balance)
    done = stop * 2 // 40 * 40 if stop % 20 else stop * 2 - 40
    assert later.num_timesteps == done
    th.manual_seed(123)  # the global generators may be in any state
    np.random.seed(5)
    later.learn(4 * 40 - done, reset_num_timesteps=False)
    assert same(whole, later)
    np.testing.assert_array_equal(whole.dataset.actions, later.dataset.actions)
    np.testing.assert_array_equal(whole.dataset.obs, later.dataset.obs)
    assert whole.rounds == later.rounds
    assert (whole.env_steps, whole.expert_queries) == (later.env_steps, later.expert_queries)


def test_a_loaded_model_needs_its_expert_to_learn(tmp_path):
    model = small()
    model.learn(40)
    model.save(tmp_path / "d.zip")
    loaded = sb3_course.load(tmp_path / "d.zip", device="cpu")
    assert type(loaded) is DAgger and same(model, loaded)
    with pytest.raises(ValueError, match=r"DAgger\.load\(path, env=env, expert=\.\.\.\)"):
        DAgger.load(tmp_path / "d.zip", env=cartpole(), device="cpu").learn(80)


def test_a_loss_that_is_logged_changes_no_network(tmp_path):
    """The control's rounds begin with the loss over D, of a policy that torch made for training."""
    env = cartpole()
    trajectories = demonstrate(balance, env, 2, seed=0)
    kwargs = {"features_extractor_class": Centered}
    model = small(
        env, demonstrations=trajectories, collect=False, policy_kwargs=kwargs, gradient_steps=3
    )
    model.learn(40)
    model.save(tmp_path / "d.zip")
    assert model.policy.features_extractor.norm.num_batches_tracked == 3 * model.n_rounds
    loaded = DAgger.load(tmp_path / "d.zip", env=cartpole(), device="cpu")
    for one in (model, loaded):
        one.learn(40, reset_num_timesteps=False)
    assert same(model, loaded)


class Centered(BaseFeaturesExtractor):
    """Features by batch normalization, which changes whenever it is used in training mode."""

    def __init__(self, space):
        super().__init__(space, space.shape[0])
        self.norm = th.nn.BatchNorm1d(space.shape[0])

    def forward(self, obs):
        return self.norm(obs)


def test_an_expert_that_is_trained_after_it_was_given_is_refused():
    """It would act by the weights of now on the statistics of then."""
    expert = A2C("MlpPolicy", VecNormalize(cartpole(1)), seed=0, device="cpu")
    model = small(expert=expert)
    model.learn(40)
    expert.set_parameters(expert.get_parameters())  # the same ones
    model.learn(40, reset_num_timesteps=False)
    weights = th.nn.utils.parameters_to_vector(expert.policy.parameters())
    th.nn.utils.vector_to_parameters(weights + 0.01, expert.policy.parameters())  # as ARS trains
    with pytest.raises(UserError, match="the expert has been trained since it was given"):
        model.learn(40, reset_num_timesteps=False)
    model.expert = sb3_course.imitation.as_expert(expert)
    model.learn(40, reset_num_timesteps=False)


@pytest.mark.parametrize("kind", [BC, DAgger])
def test_callbacks_read_the_steps_in_all_where_sb3_has_them(kind):
    env = cartpole()
    model = small() if kind is DAgger else BC("MlpPolicy", env, samples(env), 10, device="cpu")
    model.learn(40)
    started = []

    class Started(BaseCallback):
        def _on_training_start(self):
            started.append(self.locals["total_timesteps"] - self.num_timesteps)

        def _on_step(self):
            return True

    model.learn(40, Started(), reset_num_timesteps=False)
    assert started == [40]


@pytest.mark.parametrize("beta", [LinearBeta(5), ExponentialBeta(0.5)])
def test_our_own_schedules_of_beta_need_no_pickle(tmp_path, beta):
    small(beta_schedule=beta).save(tmp_path / "d.zip")
    loaded = DAgger.load(tmp_path / "d.zip", env=cartpole(), weights_only=True, device="cpu")
    assert loaded.beta_schedule == beta


def test_a_later_seed_is_saved(tmp_path):
    model = small()
    model.set_random_seed(7)
    model.learn(40)
    model.save(tmp_path / "seeded.zip")
    loaded = DAgger.load(tmp_path / "seeded.zip", env=cartpole(), expert=balance)
    for one in (model, loaded):
        one.learn(40, reset_num_timesteps=False)
    assert same(model, loaded)
    assert model.rounds == loaded.rounds


def test_the_control_without_its_data_needs_the_expert(tmp_path):
    model = small(collect=False).learn(40)
    model.save(tmp_path / "bare.zip", exclude=["dataset"])
    loaded = DAgger.load(tmp_path / "bare.zip", env=cartpole())
    with pytest.raises(ValueError, match="has no expert"):
        loaded.learn(40, reset_num_timesteps=False)
    loaded.expert = balance
    assert loaded.learn(40, reset_num_timesteps=False).dataset.size == 40


def test_a_training_that_a_callback_ends_may_be_of_any_length():
    class Stop(BaseCallback):
        def _on_step(self):
            return self.n_calls < 50

    assert small().learn(float("inf"), Stop()).n_rounds >= 1


def test_an_interrupted_round_is_discarded():
    class Interrupt(BaseCallback):
        def _on_step(self):
            if self.n_calls == 30:
                raise KeyboardInterrupt
            return True

    model = small()
    with pytest.raises(KeyboardInterrupt):
        model.learn(200, Interrupt())
    assert model.num_timesteps == model.env_steps == model.dataset.size == 40
    model.learn(40, reset_num_timesteps=False)
    assert model.dataset.size == 80


class InterruptedRate:
    """A learning rate; one of its calls is interrupted."""

    def __init__(self, call=None):
        self.left = call

    def __call__(self, progress):
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                self.left = None
                raise KeyboardInterrupt
        return 1e-2 * progress


@pytest.mark.parametrize("in_memory", [True, False], ids=["in memory", "from a file"])
@pytest.mark.parametrize("wrap", [lambda venv: venv, VecNormalize], ids=["raw", "normalized"])
@pytest.mark.parametrize("kwargs", [{}, {"collect": False}, {"buffer_size": 70}])
def test_an_interrupted_training_goes_on_where_it_was(tmp_path, wrap, kwargs, in_memory):
    whole = small(cartpole(2, wrap), learning_rate=InterruptedRate(), **kwargs).learn(4 * 40)
    model = small(cartpole(2, wrap), learning_rate=InterruptedRate(), **kwargs)
    model.learning_rate.left = model.lr_schedule.value_schedule.left = 14  # in round 2
    with pytest.raises(KeyboardInterrupt):
        model.learn(4 * 40)
    assert model.n_rounds in (2, 3) and model.num_timesteps == 40 * model.n_rounds
    if not in_memory:
        model.save(tmp_path / "dagger")
        model = DAgger.load(
            tmp_path / "dagger", env=cartpole(2, wrap), device="cpu", expert=balance
        )
    model.learn(4 * 40 - model.num_timesteps, reset_num_timesteps=False)
    assert same(whole, model)
    np.testing.assert_array_equal(whole.dataset.obs, model.dataset.obs)
    assert whole.rounds == model.rounds
    assert (whole.env_steps, whole.expert_queries) == (model.env_steps, model.expert_queries)


@pytest.mark.parametrize("wrap", [lambda venv: venv, VecNormalize], ids=["raw", "normalized"])
def test_a_round_is_added_once_if_its_statistics_are_interrupted(monkeypatch, wrap):
    whole = small(cartpole(2, wrap)).learn(3 * 40)
    model = small(cartpole(2, wrap))
    moments, calls = model._moments, []

    def interrupted(obs):
        found = moments(obs)
        calls.append(obs)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(model, "_moments", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.learn(3 * 40)
    monkeypatch.undo()
    model.learn(3 * 40 - model.num_timesteps, reset_num_timesteps=False)
    assert same(whole, model)
    np.testing.assert_array_equal(whole.dataset.obs, model.dataset.obs)


def test_evaluation_environments_of_other_spaces_are_refused_at_once():
    model = small(eval_env=make_vec_env("Pendulum-v1", 2))
    with pytest.raises(ValueError, match="the evaluation environments do not fit: actions are in"):
        model.learn(2 * 40)
    assert model.env_steps == 0


class Breaking(CartPoleEnv):
    def step(self, action):
        raise RuntimeError("broken")


def test_a_failed_evaluation_is_all_that_is_repeated():
    whole = small(eval_env=cartpole(3)).learn(2 * 40)
    model = small(eval_env=make_vec_env(Breaking, 2))
    with pytest.raises(RuntimeError, match="broken"):
        model.learn(2 * 40)
    assert model.n_rounds == 0 and model.dataset.size == model.env_steps == 40
    model.eval_env = cartpole(3)
    model.learn(2 * 40)
    assert same(whole, model) and whole.rounds == model.rounds


def test_a_callback_stops_learning_and_discards_the_round():
    class Stop(BaseCallback):
        def _on_step(self):
            return self.n_calls < 30

    model = small()
    model.learn(200, Stop())
    assert model.n_rounds == 1 and model.num_timesteps == 40


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"n_steps": 0}, "n_steps"),
        ({"gradient_steps": 1.5}, "gradient_steps"),
        ({"buffer_size": 0}, "buffer_size"),
        ({"beta_schedule": 2.0}, "beta_schedule"),
        ({"beta_schedule": "linear"}, "beta_schedule must be a number from 0 to 1 or a function"),
        ({"beta_schedule": LinearBeta}, "beta_schedule's value in round 1 must be a number"),
        ({"n_eval_episodes": -1}, "n_eval_episodes"),
        ({"n_eval_episodes": 1.5}, "n_eval_episodes must be a whole number of at least 0"),
        ({"n_eval_episodes": None}, "n_eval_episodes must be a whole number of at least 0"),
        ({"collect": "no"}, "collect must be True or False, got 'no'"),
        ({"seed": 1.5}, "seed must be a whole number"),
    ],
)
def test_a_bad_parameter_is_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        small(**kwargs)


def test_learning_needs_an_expert_whose_actions_fit():
    with pytest.raises(ValueError, match="no expert"):
        small(expert=None).learn(40)
    with pytest.raises(ValueError, match="expert does not fit"):
        small(expert=lambda obs: np.full(len(obs), 9)).learn(40)


def test_environments_of_envpool_and_gymnasium_are_evaluated():
    env = sb3_course.make_vec_env("CartPole-v1", 2, seed=0, verbose=0)
    model = small(env, n_eval_episodes=2)
    model.learn(80)
    assert "eval/mean_reward" in model.rounds[-1]
    assert DAgger("MlpPolicy", gym.make("CartPole-v1"), balance, **SMALL).learn(40).n_rounds == 2


@pytest.mark.parametrize(("capacity", "n_read"), [(None, 8), (25, 3)])
def test_round_0_reads_endless_demonstrations_as_far_as_it_uses_them(capacity, n_read):
    read = []
    model = small(demonstrations=endless(read), buffer_size=capacity)
    model.learn(0)
    assert len(read) == n_read and model.dataset.size == (capacity or 80)  # 5 steps of 16
    model.learn(80, reset_num_timesteps=False)
    assert len(read) == n_read and model.n_rounds == 3


def test_the_control_reads_no_further_in_its_rounds():
    read = []
    small(demonstrations=endless(read), collect=False).learn(80)
    assert len(read) == 8


@pytest.mark.parametrize("interval", [None, 1, 2])
def test_logs_are_written_at_the_interval(interval):
    model = small()
    rows = Recorder(model).rows
    model.learn(3 * 40, log_interval=interval)
    assert model.n_rounds == 3 and len(model.rounds) == 3
    assert len(rows) == {None: 0, 1: 3, 2: 2}[interval]
