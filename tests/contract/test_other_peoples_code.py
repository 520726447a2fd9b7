"""What other people pass in: vector environments of other kinds, schedules, wrappers."""

import functools
import math
import pickle
import re

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnvWrapper, VecFrameStack, VecNormalize

import sb3_course
from sb3_course import BC, ISPG, NPG, REINFORCE, DAgger, OnlineActorCritic
from sb3_course.common.evaluation import evaluate, evaluation_envs
from sb3_course.ispg import RATIOS
from tests.contract.helpers import WritesActions, takes
from tests.worlds import RandomSpaces

KINDS = [np.uint8, np.int64, np.float32, object]


class Foreign(VecEnvWrapper):
    """Gives dones, rewards and the flag of a time limit in another kind, as SuperSuit does."""

    def __init__(self, venv, kind):
        super().__init__(venv)
        self.kind = kind

    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        obs, rewards, dones, infos = self.venv.step_wait()
        for info in infos:
            if "TimeLimit.truncated" in info:
                info["TimeLimit.truncated"] = np.uint8(info["TimeLimit.truncated"])
        return obs, rewards.astype(np.int64), dones.astype(self.kind), infos


def envs(kind=None):
    """CartPole with a time limit of 20 steps, so that both ends of an episode occur."""
    made = DummyVecEnv([lambda: gym.make("CartPole-v1", max_episode_steps=20)] * 2)
    return made if kind is None else Foreign(made, kind)


def train(algorithm, env):
    size = {} if algorithm is sb3_course.OnlineActorCritic else {"n_steps": 32}
    model = algorithm("MlpPolicy", env, seed=0, device="cpu", **size).learn(200)
    return model.get_parameters()["policy"]


@pytest.mark.parametrize("name", sb3_course.ALGORITHMS)
def test_the_kind_of_dones_changes_nothing(name):
    algorithm = getattr(sb3_course, name)
    expected = train(algorithm, envs())
    for kind in KINDS:
        learned = train(algorithm, envs(kind))
        assert all(th.equal(learned[key], expected[key]) for key in expected), kind


@pytest.mark.parametrize("name", sb3_course.ALGORITHMS)
def test_the_kind_of_dones_changes_no_statistics_of_rewards(name):
    """SB3's VecNormalize takes whole numbers for indices, and nothing else but bool."""
    algorithm, models = getattr(sb3_course, name), []
    for kind in (None, *KINDS):
        size = {} if algorithm is sb3_course.OnlineActorCritic else {"n_steps": 32}
        env = VecNormalize(VecFrameStack(VecNormalize(envs(kind), gamma=0.9), 2))
        models.append(algorithm("MlpPolicy", env, seed=0, device="cpu", **size).learn(200))
        assert "step_wait" not in vars(env.venv.venv.venv)
    one, *others = (model.get_vec_normalize_env() for model in models)
    for other in others:
        for mine, theirs in ((other, one), (other.venv.venv, one.venv.venv)):
            assert mine.ret_rms.var == theirs.ret_rms.var
            assert mine.returns.tolist() == theirs.returns.tolist()
    expected = models[0].get_parameters()["policy"]
    learned = models[1].get_parameters()["policy"]
    assert all(th.equal(learned[key], expected[key]) for key in expected)


class Floats(DummyVecEnv):
    """Gives dones as floats, by itself."""

    def step_wait(self):
        obs, rewards, dones, infos = super().step_wait()
        return obs, rewards, dones.astype(np.float32), infos


def test_a_single_environment_may_have_dones_of_any_kind():
    one = [lambda: gym.make("CartPole-v1")]
    for made in (*(Foreign(DummyVecEnv(one), kind) for kind in KINDS), Floats(one)):
        env = VecNormalize(made)
        sb3_course.REINFORCE("MlpPolicy", env, n_steps=50, device="cpu").learn(100)


class Forgetful(VecEnvWrapper):
    """Reports no last observation where an episode ended by itself, or nowhere."""

    def __init__(self, venv, where):
        super().__init__(venv)
        self.where = where

    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        obs, rewards, dones, infos = self.venv.step_wait()
        for info in infos:
            if self.where == "everywhere" or not info.get("TimeLimit.truncated"):
                info.pop("terminal_observation", None)
        return obs, rewards, dones, infos


@pytest.mark.parametrize("name", sb3_course.ALGORITHMS)
def test_the_last_observation_is_needed_only_where_a_time_limit_cut(name):
    algorithm = getattr(sb3_course, name)
    expected = train(algorithm, envs())
    learned = train(algorithm, Forgetful(envs(), "terminated"))
    assert all(th.equal(learned[key], expected[key]) for key in expected)
    with pytest.raises(KeyError, match=r"infos\[\d\] .* no 'terminal_observation', only \['TimeLi"):
        train(algorithm, Forgetful(envs(), "everywhere"))


class Whole(gym.Env):
    """Counts in halves, and returns whole numbers where there are no halves."""

    def __init__(self, kind=None):
        self.kind = kind
        self.observation_space = spaces.Box(-9, 9, (2,))
        self.action_space = spaces.Discrete(2)

    def observed(self):
        obs = [self.t / 2, 0]
        return np.array([int(x) for x in obs] if self.t % 2 == 0 else obs, self.kind)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.observed(), {}

    def step(self, action):
        self.t += 1
        return self.observed(), float(action), False, self.t == 6, {}


class PassingOn(DummyVecEnv):
    """Passes observations on as the environments return them, like ``SubprocVecEnv``."""

    def _save_obs(self, env_idx, obs):
        self.passed = [None] * self.num_envs if not hasattr(self, "passed") else self.passed
        self.passed[env_idx] = obs

    def _obs_from_buf(self):
        return np.stack(self.passed)


@pytest.mark.parametrize("name", sb3_course.ALGORITHMS)
def test_observations_are_of_the_kind_that_their_space_declares(name):
    """Although the first of them are whole numbers."""
    algorithm = getattr(sb3_course, name)
    expected = train(algorithm, DummyVecEnv([Whole] * 2))
    learned = train(algorithm, PassingOn([Whole] * 2))
    assert all(th.equal(learned[key], expected[key]) for key in expected)


class Reusing(VecEnvWrapper):
    """Returns the last observations of episodes in one array, which it overwrites."""

    def __init__(self, venv):
        super().__init__(venv)
        self.last = np.zeros((venv.num_envs, *venv.observation_space.shape), np.uint8)

    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        obs, rewards, dones, infos = self.venv.step_wait()
        for n in np.flatnonzero(dones):
            self.last[n] = infos[n]["terminal_observation"]
            infos[n]["terminal_observation"] = self.last[n]
        return obs, rewards, dones, infos


class Bytes(Whole):
    """Episodes that differ in their last observation."""

    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Box(0, 255, (2,), np.uint8)
        self.episode = 0

    def observed(self):
        return np.array([self.t, 40 * self.episode % 256], np.uint8)

    def reset(self, *, seed=None, options=None):
        self.episode += 1
        return super().reset(seed=seed, options=options)


@pytest.mark.parametrize("name", sb3_course.ALGORITHMS)
def test_last_observations_may_be_overwritten_by_later_ones(name):
    algorithm = getattr(sb3_course, name)
    if algorithm in (REINFORCE, ISPG):
        algorithm = functools.partial(algorithm, baseline="value")
    learned, expected = (
        algorithm("MlpPolicy", wrap(DummyVecEnv([Bytes] * 2)), seed=0, device="cpu").learn(2500)
        for wrap in (Reusing, lambda venv: venv)
    )
    for one, other in zip(learned.policy.parameters(), expected.policy.parameters(), strict=True):
        assert th.equal(one, other)


@pytest.mark.parametrize("space", [spaces.Discrete(3), spaces.MultiBinary(3)], ids=str)
@pytest.mark.parametrize("name", sb3_course.ALGORITHMS)
def test_what_an_environment_writes_into_its_actions_changes_nothing(name, space):
    algorithm = getattr(sb3_course, name)

    def made():
        return DummyVecEnv([lambda: RandomSpaces(spaces.Box(-1, 1, (2,)), space)] * 2)

    one = train(algorithm, made())
    other = train(algorithm, WritesActions(made()))
    assert all(th.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("kind", KINDS)
def test_the_training_return_of_dagger_is_that_of_the_episodes(kind):
    def balance(obs):
        return (obs[:, 2] + obs[:, 3] > 0).astype(int)

    model = DAgger(
        "MlpPolicy", envs(kind), balance, n_steps=40, gradient_steps=2, n_eval_episodes=0, seed=0
    ).learn(80)
    assert model.rounds[0]["rollout/ep_rew_mean"] == 20  # the expert reaches the limit


def test_evaluation_takes_them_too():
    model = sb3_course.NPG("MlpPolicy", envs(), n_steps=32, seed=0)
    plain = evaluate(model, evaluation_envs("CartPole-v1", 3), 0)
    foreign = evaluate(model, Foreign(evaluation_envs("CartPole-v1", 3), np.uint8), 0)
    assert np.array_equal(plain[0], foreign[0]) and np.array_equal(plain[1], foreign[1])


def test_tuple_observations_are_refused_in_words():
    class Tuples(Foreign):
        def step_wait(self):
            obs, *rest = super().step_wait()
            return (obs,), *rest

    model = sb3_course.NPG("MlpPolicy", Tuples(envs(), bool), n_steps=32)
    with pytest.raises(TypeError, match="Tuple observations are not supported"):
        model.learn(64)


SCHEDULED = [
    (getattr(sb3_course, name), parameter)
    for name in sb3_course.ALGORITHMS
    for parameter in ("learning_rate", "critic_learning_rate", "target_kl", "step_size")
    if parameter in getattr(sb3_course, name).__init__.__code__.co_varnames
]
every_schedule = pytest.mark.parametrize(("algorithm", "parameter"), SCHEDULED)


def make(algorithm, **kwargs):
    size = {} if algorithm in (OnlineActorCritic, BC) else {"n_steps": 200}
    env = make_vec_env("CartPole-v1", 2, seed=0)
    return algorithm("MlpPolicy", env, **{"seed": 0, "device": "cpu", **size, **kwargs})


@every_schedule
def test_progress_is_from_one_to_zero_however_far_the_last_batch_goes(algorithm, parameter):
    asked = []

    def linear(progress):
        asked.append(progress)
        return 1e-2 * progress

    make(algorithm, **{parameter: linear}).learn(450)
    assert max(asked) == 1 or parameter in ("target_kl", "step_size")  # asked in updates alone
    assert min(asked) == 0


def test_the_last_step_of_a_linear_schedule_is_none_and_not_one_backwards():
    model = make(REINFORCE, learning_rate=lambda progress: 1e-2 * progress, baseline=None)
    model.learn(450)
    assert model.actor_optimizer.param_groups[0]["lr"] == 0


@every_schedule
@pytest.mark.parametrize("value", [-1e-3, math.nan, math.inf, (-1.0) ** 0.5, None, "fast"])
def test_a_value_that_is_no_rate_is_an_error_that_names_the_parameter(algorithm, parameter, value):
    with pytest.raises(ValueError, match=rf"^{parameter}: its schedule must return a finite"):
        make(algorithm, **{parameter: lambda progress: value}).learn(450)


def test_a_schedule_that_turns_bad_is_told_with_the_progress():
    with pytest.raises(ValueError, match=r"target_kl: .* got nan at progress 0\.\d+"):
        make(NPG, target_kl=lambda p: 0.02 if p > 0.9 else math.nan).learn(2000)


def demonstrations(n=64):
    obs = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)
    return {"obs": obs, "acts": (obs[:, 2] > 0).astype(int)}


@pytest.mark.parametrize("algorithm", [BC, DAgger])
def test_imitation_checks_its_learning_rate_too(algorithm):
    kwargs = {"demonstrations": demonstrations(), "seed": 0, "device": "cpu"}
    if algorithm is DAgger:
        kwargs |= {"gradient_steps": 5, "n_eval_episodes": 0}
    asked = []
    model = algorithm(
        "MlpPolicy", "CartPole-v1", learning_rate=lambda p: asked.append(p) or 1e-3 * p, **kwargs
    )
    model.learn(0 if algorithm is DAgger else 250)
    assert 0 <= min(asked) < max(asked) == 1
    with pytest.raises(ValueError, match="learning_rate: its schedule"):
        algorithm("MlpPolicy", "CartPole-v1", learning_rate=lambda p: -p, **kwargs).learn(250)


# -- wrappers ------------------------------------------------------------------------------------


def pendulum(**settings):
    return VecNormalize(DummyVecEnv([lambda: gym.make("Pendulum-v1")]), **settings)


EVALUATION = {"training": False, "norm_reward": False, "clip_obs": 3.0, "gamma": 0.5}
TRAINING = {"training": True, "norm_reward": True, "clip_obs": 7.0}


@pytest.fixture(params=["NPG", "BC"])
def trained(request, tmp_path):
    """A file of a model that was trained with other settings than those given at loading."""
    if request.param == "NPG":
        model = NPG("MlpPolicy", pendulum(clip_obs=5.0), n_steps=64, seed=0).learn(128)
    else:
        obs = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
        model = BC("MlpPolicy", pendulum(clip_obs=5.0), {"obs": obs, "acts": obs[:, :1]}, seed=0)
        model.learn(500)
    model.save(tmp_path / "model")
    return model, tmp_path / "model"


@pytest.mark.parametrize("settings", [EVALUATION, TRAINING])
@pytest.mark.parametrize("load", ["class", "package"])
def test_a_wrapper_given_to_load_keeps_its_settings(trained, settings, load):
    model, path = trained
    env = pendulum(**settings)
    (type(model).load if load == "class" else sb3_course.load)(path, env=env)
    assert {name: getattr(env, name) for name in settings} == settings
    statistics = model.get_vec_normalize_env().obs_rms
    assert np.array_equal(env.obs_rms.mean, statistics.mean)
    assert env.obs_rms.count == statistics.count


@pytest.mark.parametrize("trained", ["BC"], indirect=True)
def test_a_wrapper_given_to_from_imitation_keeps_its_settings(trained):
    env = pendulum(**EVALUATION)
    NPG.from_imitation(trained[0], env, n_steps=32)
    assert {name: getattr(env, name) for name in EVALUATION} == EVALUATION


def test_evaluation_after_loading_sees_raw_rewards(trained):
    _, path = trained
    env = pendulum(training=False, norm_reward=False)
    mean, _ = evaluate_policy(sb3_course.load(path, env=env), env, 2)
    assert mean < -400  # normalized it would be about -5


def test_a_wrapper_below_another_one_takes_the_statistics(tmp_path):
    def stacked():
        return VecFrameStack(pendulum(), 2)

    model = NPG("MlpPolicy", stacked(), n_steps=64, seed=0).learn(128)
    model.save(tmp_path / "model")
    loaded = NPG.load(tmp_path / "model", env=stacked())
    old, new = (m.get_vec_normalize_env().obs_rms for m in (model, loaded))
    assert np.array_equal(old.mean, new.mean) and old.count == new.count
    raw = VecFrameStack(DummyVecEnv([lambda: gym.make("Pendulum-v1")]), 2)
    with pytest.raises(ValueError, match=r"VecFrameStack\(VecNormalize\(env\)\)"):
        NPG.load(tmp_path / "model", env=raw)


# -- classes, spaces and modes -------------------------------------------------------------------


def test_a_class_refuses_the_file_of_another_one(tmp_path):
    make(NPG).save(tmp_path / "npg")
    A2C("MlpPolicy", "CartPole-v1").save(tmp_path / "a2c")
    for algorithm in (REINFORCE, sb3_course.BatchActorCritic, BC):
        with pytest.raises(ValueError, match=f"saved by NPG, not by {algorithm.__name__}"):
            algorithm.load(tmp_path / "npg")
    with pytest.raises(ValueError, match="saved by another library, not by NPG"):
        NPG.load(tmp_path / "a2c")

    class Mine(NPG):
        """A user's own."""

    assert type(Mine.load(tmp_path / "npg")) is Mine


@pytest.mark.parametrize(
    "space", [spaces.Discrete(3, start=1), spaces.MultiDiscrete([2, 3], start=[0, 1])]
)
def test_actions_that_do_not_start_at_zero_are_refused(space):
    with pytest.raises(ValueError, match="must start at 0"):
        NPG("MlpPolicy", RandomSpaces(spaces.Box(-1, 1, (2,)), space))


@pytest.mark.parametrize("algorithm", [NPG, sb3_course.BatchActorCritic])
def test_one_transition_with_normalized_advantages_is_refused(algorithm):
    with pytest.raises(ValueError, match=r"at least 2 transitions .* n_steps=1 from 1 env"):
        algorithm("MlpPolicy", "CartPole-v1", n_steps=1, normalize_advantage=True)
    env = make_vec_env("CartPole-v1", 2)
    algorithm("MlpPolicy", env, n_steps=1, normalize_advantage=True, device="cpu").learn(8)


class Dropout(FlattenExtractor):
    """Drops half of what it sees, in training mode."""

    def __init__(self, observation_space):
        super().__init__(observation_space)
        self.dropout = th.nn.Dropout(0.5)

    def forward(self, observations):
        return self.dropout(super().forward(observations))


def test_with_dropout_the_realized_kl_is_the_target(capsys):
    kwargs = {"policy_kwargs": {"features_extractor_class": Dropout}, "target_kl": 0.01}
    model = make(NPG, **kwargs).learn(800)
    assert model.n_skipped_updates == 0
    assert model.logger.name_to_value["train/kl_divergence"] == pytest.approx(0.01, rel=0.5)


@pytest.mark.parametrize("ratio", RATIOS)
def test_with_dropout_the_weights_of_a_new_batch_are_one(ratio):
    kwargs = {"policy_kwargs": {"features_extractor_class": Dropout}, "n_epochs": 1}
    model = make(ISPG, ratio=ratio, **kwargs).learn(400)
    assert model.logger.name_to_value["train/ess/0"] == pytest.approx(1)


@pytest.mark.parametrize("name", sb3_course.ALGORITHMS)
def test_a_model_can_be_pickled_and_goes_on(name):
    model = make(getattr(sb3_course, name)).learn(400)
    copy = pickle.loads(pickle.dumps(model))
    before = copy.get_parameters()["policy"]["action_net.weight"].clone()
    copy.learn(400, reset_num_timesteps=False)
    assert not th.equal(before, copy.get_parameters()["policy"]["action_net.weight"])


class Normalized(FlattenExtractor):
    """With batch normalization, which in training mode needs more than one environment."""

    def __init__(self, observation_space):
        super().__init__(observation_space)
        self.norm = th.nn.BatchNorm1d(4)

    def forward(self, observations):
        return self.norm(super().forward(observations))


@pytest.mark.parametrize("name", sb3_course.ALGORITHMS)
def test_batch_normalization_on_one_environment(name):
    algorithm = getattr(sb3_course, name)
    kwargs = {} if algorithm is OnlineActorCritic else {"n_steps": 32}
    kwargs["policy_kwargs"] = {"features_extractor_class": Normalized}
    model = algorithm("MlpPolicy", "CartPole-v1", seed=0, device="cpu", **kwargs).learn(100)
    assert np.isfinite(model.policy.action_net.weight.detach().numpy()).all()


# -- types and spaces ----------------------------------------------------------------------------


OF_ANOTHER_TYPE = [
    ("learning_rate", "3e-4"),
    ("learning_rate", None),
    ("critic_learning_rate", [1e-3]),
    ("gamma", None),
    ("gamma", math.nan),
    ("ent_coef", "auto"),
    ("max_grad_norm", True),
    ("target_kl", "abc"),
    ("step_size", -1),
    ("min_ess", "half"),
    ("gae_lambda", None),
    ("normalize_advantage", "no"),
    ("reward_to_go", 0),
    ("line_search", "yes"),
    ("balance_heuristic", None),
    ("self_normalize", "False"),
]
TAKEN = [
    (algorithm, parameter, value)
    for algorithm in (getattr(sb3_course, name) for name in sb3_course.ALGORITHMS)
    for parameter, value in OF_ANOTHER_TYPE
    if takes(algorithm, parameter)
]
NUMBERS = [
    (algorithm, parameter)
    for algorithm in (getattr(sb3_course, name) for name in sb3_course.ALGORITHMS)
    for parameter in ("learning_rate", "critic_learning_rate", "target_kl")
    if takes(algorithm, parameter)
]


def test_every_parameter_is_tried():
    assert {row[1] for row in TAKEN} == {parameter for parameter, _ in OF_ANOTHER_TYPE}
    assert len({row[1] for row in NUMBERS}) == 3


@pytest.mark.parametrize(("algorithm", "parameter", "value"), TAKEN)
def test_a_value_of_another_type_is_refused_with_its_name(algorithm, parameter, value):
    with pytest.raises(ValueError, match=rf"^{parameter} must be .*, got {re.escape(repr(value))}"):
        make(algorithm, **{parameter: value})


@pytest.mark.parametrize(("algorithm", "parameter"), NUMBERS)
def test_numbers_of_numpy_are_numbers(algorithm, parameter):
    learned, expected = (
        make(algorithm, **{parameter: kind(0.125)}).learn(64).policy.parameters()
        for kind in (np.float32, float)
    )
    assert all(th.equal(one, other) for one, other in zip(learned, expected, strict=True))


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5, True, np.int64(-1), "3"])
def test_a_seed_that_numpy_cannot_take_is_refused_before_anything_is_built(seed):
    with pytest.raises(
        ValueError, match=f"^seed must be .*{2**32 - 1}.*, got {re.escape(repr(seed))}"
    ):
        NPG("MlpPolicy", "CartPole-v1", seed=seed)
    model = NPG("MlpPolicy", "CartPole-v1", seed=2**32 - 1, device="cpu")
    with pytest.raises(ValueError, match=f"^seed must be .*, got {re.escape(repr(seed))}"):
        model.set_random_seed(seed)


@pytest.mark.parametrize("algorithm", [REINFORCE, ISPG, NPG, OnlineActorCritic, BC])
def test_a_seed_of_numpy_is_that_number(algorithm):
    more = {"demonstrations": demonstrations()} if algorithm is BC else {}
    learned = []
    for kind in (np.int64, int):
        model = make(algorithm, seed=kind(3), **more).learn(64)
        model.set_random_seed(kind(7))
        learned.append([*model.learn(64).policy.parameters()])
        assert type(model.seed) is int
    assert all(th.equal(one, other) for one, other in zip(*learned, strict=True))


@pytest.mark.parametrize("high", [np.inf, 1.0])
def test_the_advice_for_actions_without_bounds_works(high):
    space = spaces.Box(-np.inf, high, (2,), dtype=np.float32)
    env = RandomSpaces(spaces.Box(-1, 1, (3,)), space)
    with pytest.raises(ValueError, match="must have finite bounds") as caught:
        NPG("MlpPolicy", env)
    advice = str(caught.value).partition("as in ")[2]
    wrapped = eval(advice, {"gymnasium": gym, "env": env})
    NPG("MlpPolicy", wrapped, n_steps=16).learn(16)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Tuple([spaces.Discrete(2), spaces.Discrete(2)]),
        spaces.Dict({"a": spaces.Dict({"b": spaces.Discrete(2)})}),
    ],
)
@pytest.mark.parametrize("algorithm", [NPG, BC])
def test_observations_without_a_policy_are_refused(algorithm, space):
    with pytest.raises(ValueError, match="must hold neither Tuple nor nested Dicts"):
        algorithm("MultiInputPolicy", RandomSpaces(space, spaces.Discrete(2)))


class Coin(gym.Env):
    """Half of the episodes succeed and have 1 step; the others have ``long`` steps."""

    observation_space = spaces.Box(-1, 1, (1,))
    action_space = spaces.Discrete(2)

    def __init__(self, long=50, key="is_success"):
        self.long, self.key = long, key

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.length = 0, int(self.np_random.choice([1, self.long]))
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.t += 1
        over = self.t == self.length
        good = over and self.length == 1
        return np.zeros(1, np.float32), float(good), over, False, {self.key: good} if over else {}


@pytest.mark.parametrize("algorithm", [REINFORCE, ISPG])
def test_the_window_holds_the_last_episodes_to_start(algorithm):
    """One over the last to end favors the long ones: 0.06 successes instead of one half."""
    env = make_vec_env(Coin, 64, seed=0)
    model = algorithm("MlpPolicy", env, n_episodes=640, seed=0, device="cpu").learn(1)
    lengths = model.rollout.lengths[-100:]
    assert [episode["l"] for episode in model.ep_info_buffer] == lengths.tolist()
    assert list(model.ep_success_buffer) == (lengths == 1).tolist()
    assert abs(np.mean(model.ep_success_buffer) - 0.5) < 0.1


@pytest.mark.parametrize("algorithm", [REINFORCE, ISPG])
def test_the_window_spans_batches(algorithm):
    """The mean over one batch of few episodes is too high: they are fewer where they are long."""
    started = []

    class Note(BaseCallback):
        def _on_rollout_end(self):
            started.extend(self.model.rollout.lengths)

        def _on_step(self):
            return True

    env = make_vec_env(Coin, 2, seed=0)
    model = algorithm("MlpPolicy", env, n_steps=20, stats_window_size=30, seed=0, device="cpu")
    model.learn(1000, callback=Note())
    assert len(model.rollout.lengths) < 30 < len(started)
    assert [episode["l"] for episode in model.ep_info_buffer] == started[-30:]
    assert list(model.ep_success_buffer) == [length == 1 for length in started[-30:]]


class OneDict(VecEnvWrapper):
    """Gives its info dicts again and again."""

    def reset(self):
        self.infos = [{} for _ in range(self.num_envs)]
        return self.venv.reset()

    def step_wait(self):
        obs, rewards, dones, infos = self.venv.step_wait()
        for mine, new in zip(self.infos, infos, strict=True):
            mine.clear()
            mine.update(new)
        return obs, rewards, dones, self.infos


@pytest.mark.parametrize("algorithm", [REINFORCE, ISPG])
def test_infos_may_be_used_again(algorithm):
    kept = []
    for wrap in (lambda venv: venv, OneDict):
        env = wrap(make_vec_env(Coin, 3, seed=0))
        model = algorithm("MlpPolicy", env, n_episodes=30, seed=0, device="cpu").learn(1)
        kept.append([episode["l"] for episode in model.ep_info_buffer])
    assert len(kept[0]) == 30
    assert kept[0] == kept[1]


@pytest.mark.parametrize("algorithm", [REINFORCE, ISPG])
def test_a_batch_that_is_stopped_leaves_no_episodes_in_the_window(algorithm):
    """Those that had ended were its short ones."""

    class Stop(BaseCallback):
        def _on_step(self):
            return self.n_calls < 10

    model = algorithm("MlpPolicy", make_vec_env(Coin, 8, seed=0), n_episodes=20, seed=0)
    model.learn(1, callback=Stop())
    window = model.ep_info_buffer
    assert len(window) == 0
    model.learn(1, reset_num_timesteps=False)
    assert len(window) == 20 and model.ep_info_buffer is window


def test_without_successes_there_is_no_rate():
    env = make_vec_env(Coin, 4, seed=0, env_kwargs={"key": "other"})
    model = REINFORCE("MlpPolicy", env, n_episodes=8, seed=0, device="cpu").learn(1)
    assert len(model.ep_success_buffer) == 0


@pytest.mark.parametrize("algorithm", [NPG, OnlineActorCritic])
def test_classes_of_fixed_batches_keep_sb3s_window(algorithm):
    env = make_vec_env(Coin, 4, seed=0, env_kwargs={"long": 3})
    model = algorithm("MlpPolicy", env, stats_window_size=7, seed=0, device="cpu").learn(500)
    assert len(model.ep_success_buffer) == len(model.ep_info_buffer) == 7
