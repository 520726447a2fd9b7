import copy
import io
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from imitation.algorithms.bc import BehaviorCloningLossCalculator
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.policies import ActorCriticPolicy, MultiInputActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import nn

import sb3_course
from sb3_course import BC
from sb3_course.imitation import demonstrate
from sb3_course.imitation.dataset import CHUNK
from tests.contract.helpers import ACTIONS, OBSERVATIONS, any_env
from tests.imitation.helpers import balance


def samples(env, n=64):
    """Draw random demonstrations from the environment's spaces."""
    space = env.observation_space
    space.seed(0)
    env.action_space.seed(0)
    obs = [space.sample() for _ in range(n)]
    if isinstance(space, spaces.Dict):
        obs = {key: np.stack([o[key] for o in obs]) for key in space.spaces}
    else:
        obs = np.stack(obs)
    return {"obs": obs, "acts": np.stack([env.action_space.sample() for _ in range(n)])}


def policy_for(space):
    return "MultiInputPolicy" if isinstance(space, spaces.Dict) else "MlpPolicy"


def same(one, other):
    one, other = one.get_parameters(), other.get_parameters()
    return all(th.equal(one["policy"][k], other["policy"][k]) for k in one["policy"])


# -- the loss ------------------------------------------------------------------------------------

BOX, IMAGE = spaces.Box(-1, 1, (5,)), spaces.Box(0, 255, (3, 36, 36), dtype=np.uint8)


@pytest.mark.parametrize(
    ("kind", "observations", "actions", "kwargs"),
    [
        (ActorCriticPolicy, BOX, ACTIONS["box"], {}),
        (ActorCriticPolicy, BOX, ACTIONS["box"], {"activation_fn": nn.ReLU, "log_std_init": -1}),
        (ActorCriticPolicy, BOX, ACTIONS["discrete"], {}),
        (ActorCriticPolicy, BOX, ACTIONS["multidiscrete"], {}),
        (ActorCriticPolicy, BOX, ACTIONS["multibinary"], {}),
        (MultiInputActorCriticPolicy, spaces.Dict({"a": BOX}), ACTIONS["box"], {}),
    ],
)
def test_the_loss_and_its_gradient_are_those_of_imitation_and_sb3(
    kind, observations, actions, kwargs
):
    env = any_env(observations, actions)
    kwargs = kwargs | {"optimizer_class": th.optim.SGD}  # a step of rate 0 keeps its gradient
    model = BC(kind, env, samples(env), 0.0, 64, 0.1, policy_kwargs=kwargs, device="cpu")
    losses = []
    model.learn(64, callback=lambda *_: losses.append(model._losses[-1]) or True)
    (loss,) = losses
    obs, acts = model._training_set()
    _, log_prob, entropy = model.policy.evaluate_actions(obs, acts)
    others = [-log_prob.mean() - 0.1 * entropy.mean()]
    if not isinstance(observations, spaces.Dict):  # about which imitation warns
        others.append(BehaviorCloningLossCalculator(0.1, 0.0)(model.policy, obs, acts).loss)
    parameters = list(model.policy.parameters())
    for other in others:
        th.testing.assert_close(loss, other.item(), rtol=1e-5, atol=1e-5)
        expected = th.autograd.grad(other, parameters, allow_unused=True, materialize_grads=True)
        assert any(gradient.any() for gradient in expected)
        for parameter, gradient in zip(parameters, expected):
            got = th.zeros_like(gradient) if parameter.grad is None else parameter.grad
            th.testing.assert_close(got, gradient, rtol=1e-4, atol=1e-6)


def test_only_the_actor_is_trained():
    env = make_vec_env("CartPole-v1", 1, seed=0)
    model = BC("MlpPolicy", env, samples(env), seed=0, device="cpu")
    before = copy.deepcopy(model.get_parameters()["policy"])
    model.learn(500)
    moved = {k for k, v in model.get_parameters()["policy"].items() if not th.equal(v, before[k])}
    assert moved and all("policy_net" in key or "action_net" in key for key in moved)
    assert {k for k in before if "policy_net" in k or "action_net" in k} == moved


# -- SB3's interface -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_loss_falls_in_every_observation_space(name):
    env = any_env(OBSERVATIONS[name])
    assert_loss_falls(env)


@pytest.mark.parametrize("name", ACTIONS)
def test_loss_falls_in_every_action_space(name):
    assert_loss_falls(any_env(action_space=ACTIONS[name]))


def assert_loss_falls(env):
    demonstrations = samples(env)
    policy = policy_for(env.observation_space)
    model = BC(policy, env, demonstrations, batch_size=16, seed=0, device="cpu", learning_rate=1e-2)
    untrained = mean_loss(model)
    model.learn(16 * 60)
    assert mean_loss(model) < untrained
    action, _ = model.predict(env.reset(), deterministic=True)
    assert all(env.action_space.contains(a) for a in action)


def mean_loss(model):
    with th.no_grad():
        _, log_prob, _ = model.policy.evaluate_actions(*model._training_set())
    return -log_prob.mean().item()


def test_images_are_stored_as_bytes_with_channels_first():
    env = any_env(spaces.Box(0, 255, (36, 36, 3), dtype=np.uint8), n_envs=1)
    demonstrations = samples(env, 20)
    model = BC("CnnPolicy", env, demonstrations, batch_size=10, seed=0, device="cpu").learn(20)
    assert model.dataset.obs.shape == (20, 3, 36, 36)
    assert model.dataset.obs.dtype == np.uint8


def test_the_experts_actions_are_learned():
    env = make_vec_env("CartPole-v1", 2, seed=0)
    demonstrations = demonstrate(balance, env, 4, seed=0)
    model = BC("MlpPolicy", env, demonstrations, learning_rate=5e-3, seed=0, device="cpu")
    model.learn(100_000)
    obs = np.concatenate([t.obs for t in demonstrations])
    actions, _ = model.predict(obs, deterministic=True)
    assert (actions == balance(obs)).mean() > 0.95


def test_time_steps_are_transitions_and_callbacks_see_each_gradient_step():
    class Count(BaseCallback):
        def _on_step(self):
            seen.append(self.num_timesteps)
            return len(seen) < 7

    seen = []
    env = make_vec_env("CartPole-v1", 1)
    model = BC("MlpPolicy", env, samples(env), batch_size=20, device="cpu")
    model.learn(100)
    assert (model.num_timesteps, model._n_updates) == (100, 5)
    model.learn(1000, callback=Count())
    assert seen == list(range(20, 160, 20)) and model._n_updates == 12
    model.learn(40, reset_num_timesteps=False)
    assert model.num_timesteps == 180


def test_the_progress_bar_counts_transitions(capsys):
    env = make_vec_env("CartPole-v1", 1)
    BC("MlpPolicy", env, samples(env), device="cpu").learn(6400, progress_bar=True)
    assert "6,400/6,400" in "".join(capsys.readouterr())


def test_the_learning_rate_follows_its_schedule():
    env = make_vec_env("CartPole-v1", 1)
    model = BC(
        "MlpPolicy", env, samples(env), batch_size=10, learning_rate=lambda p: p, device="cpu"
    )
    model.learn(100)
    assert model.policy.optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


def test_learning_prints_nothing_and_writes_nothing(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    env = make_vec_env("CartPole-v1", 1)
    BC("MlpPolicy", env, samples(env), device="cpu").learn(2_000)
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"ent_coef": float("nan")}, "ent_coef"),
        ({"policy_kwargs": {"use_sde": True}}, "use_sde"),
        ({"seed": "a"}, "seed must be a whole number"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"demonstrations": {"obs": np.zeros((2, 3)), "acts": [0, 1]}}, "shape"),
    ],
)
def test_a_bad_parameter_is_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        BC("MlpPolicy", "CartPole-v1", device="cpu", **kwargs)


def test_learning_without_demonstrations_is_an_error():
    with pytest.raises(ValueError, match="no demonstrations"):
        BC("MlpPolicy", "CartPole-v1", device="cpu").learn(10)


def test_a_loss_that_is_not_finite_stops_learning_before_the_step():
    env = make_vec_env("CartPole-v1", 1)
    model = BC("MlpPolicy", env, samples(env), device="cpu")
    model.policy.action_net.weight.data[0, 0] = np.nan
    before = copy.deepcopy(model.policy.mlp_extractor.policy_net[0].weight)
    with pytest.raises((FloatingPointError, ValueError), match="a loss is nan|nan"):
        model.learn(100)
    assert th.equal(before, model.policy.mlp_extractor.policy_net[0].weight)


# -- normalization -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["box64", "dict"])
def test_statistics_come_only_from_the_demonstrations(name):
    space = OBSERVATIONS["box64"] if name == "box64" else spaces.Dict({"a": OBSERVATIONS["box64"]})
    env = VecNormalize(any_env(space))
    demonstrations = samples(env)
    model = BC(policy_for(space), env, demonstrations, device="cpu")
    moments = env.obs_rms["a"] if name == "dict" else env.obs_rms
    obs = demonstrations["obs"]["a"] if name == "dict" else demonstrations["obs"]
    np.testing.assert_allclose(moments.mean, obs.mean(axis=0), atol=1e-4)
    before = copy.deepcopy(moments)
    model.learn(200)
    np.testing.assert_array_equal(moments.mean, before.mean)
    assert moments.count == before.count and env.training
    seen, _ = model._training_set()
    seen = seen["a"] if name == "dict" else seen
    np.testing.assert_allclose(seen.mean(dim=0), np.zeros(3), atol=1e-2)


# -- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["box", "dict"])
def test_the_file_holds_the_demonstrations_unless_they_are_excluded(tmp_path, name):
    env = any_env(OBSERVATIONS["box64" if name == "box" else "dict"])
    model = BC(policy_for(env.observation_space), env, samples(env), seed=0, device="cpu").learn(
        500
    )
    model.save(tmp_path / "bc")
    for load in (BC.load, sb3_course.load):
        loaded = load(tmp_path / "bc.zip", device="cpu")
        assert type(loaded) is BC and same(model, loaded)
        assert loaded.dataset.size == 64
    model.save(tmp_path / "small", exclude=["dataset"])
    assert BC.load(tmp_path / "small").dataset.size == 0


@pytest.mark.parametrize("wrap", [lambda venv: venv, VecNormalize], ids=["raw", "normalized"])
def test_loading_takes_other_demonstrations(tmp_path, wrap):
    env = wrap(make_vec_env("CartPole-v1", 2, seed=0))
    given, others = samples(env), samples(env, 10)
    model = BC("MlpPolicy", env, given, seed=0, device="cpu").learn(100)
    model.save(tmp_path / "bc")
    env = wrap(make_vec_env("CartPole-v1", 2, seed=0))
    loaded = BC.load(tmp_path / "bc", env=env, demonstrations=others, device="cpu")
    np.testing.assert_array_equal(loaded.dataset.obs, others["obs"])
    model.set_demonstrations(others)
    assert same(model.learn(100), loaded.learn(100))
    with pytest.raises(ValueError, match="shape"):
        BC.load(tmp_path / "bc", demonstrations={"obs": np.zeros((2, 3)), "acts": [0, 1]})


def test_another_seed_draws_other_minibatches(tmp_path):
    env = make_vec_env("CartPole-v1", 2, seed=0)
    model = BC("MlpPolicy", env, samples(env), batch_size=10, seed=0, device="cpu")
    model.save(tmp_path / "bc")
    one, other, third = (BC.load(tmp_path / "bc", env=env, seed=s, device="cpu") for s in (0, 1, 0))
    third.set_random_seed(1)
    assert same(model.learn(200), one.learn(200))
    assert not same(one, other.learn(200)) and same(other, third.learn(200))


class Normalized(BaseFeaturesExtractor):
    """Features by batch normalization and dropout, which training and prediction do not share."""

    def __init__(self, space):
        super().__init__(space, space.shape[0])
        self.norm, self.drop = nn.BatchNorm1d(space.shape[0]), nn.Dropout(0.5)

    def forward(self, obs):
        return self.drop(self.norm(obs))


def test_a_callback_that_predicts_leaves_training_as_it_is():
    env = make_vec_env("CartPole-v1", 1, seed=0)
    kwargs = {"features_extractor_class": Normalized}

    def trained(callback):
        model = BC("MlpPolicy", env, samples(env), 10, policy_kwargs=kwargs, seed=0, device="cpu")
        modes = []
        model.learn(300, lambda *args: modes.append(model.policy.training) or callback(model))
        return model.policy.features_extractor.norm, modes

    alone, modes = trained(lambda model: True)
    beside, others = trained(lambda model: model.predict(np.zeros(4)) is not None)
    assert alone.num_batches_tracked == beside.num_batches_tracked == len(modes)
    assert th.equal(alone.running_mean, beside.running_mean)
    assert modes == others == [True] * len(modes)


class SaveOnce(BaseCallback):
    """Saves the model at a step inside ``learn``."""

    def __init__(self, step, path):
        super().__init__()
        self.step, self.path = step, path

    def _on_step(self):
        if self.n_calls == self.step:
            self.model.save(self.path)
        return True


@pytest.mark.parametrize("stop", [3, CHUNK, CHUNK + 2])
@pytest.mark.parametrize("wrap", [lambda venv: venv, VecNormalize], ids=["raw", "normalized"])
def test_learning_continues_from_a_file_bit_for_bit(tmp_path, stop, wrap):
    def env():
        return wrap(make_vec_env("CartPole-v1", 2, seed=0))

    given = samples(env())
    total = 10 * (CHUNK + 5)
    kwargs = {"batch_size": 10, "seed": 0, "device": "cpu", "learning_rate": lambda p: 1e-2 * p}
    whole = BC("MlpPolicy", env(), given, **kwargs)
    whole.learn(total, SaveOnce(stop, tmp_path / "bc"))
    later = BC.load(tmp_path / "bc", env=env(), device="cpu")
    th.manual_seed(123)  # the global generator may be in any state
    later.learn(total - 10 * stop, reset_num_timesteps=False)
    assert later.num_timesteps == whole.num_timesteps
    assert same(whole, later)
    state, other = (m.policy.optimizer.state_dict()["state"] for m in (whole, later))
    assert all(th.equal(state[i][k], other[i][k]) for i in state for k in state[i])


def test_learning_without_a_seed_continues_from_a_file_bit_for_bit(tmp_path):
    env = make_vec_env("CartPole-v1", 1)
    model = BC("MlpPolicy", env, samples(env), device="cpu")
    buffer = io.BytesIO()
    model.save(buffer)
    later = BC.load(buffer, env=env, device="cpu")
    assert same(model.learn(300), later.learn(300))


# -- the extra -----------------------------------------------------------------------------------

BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "imitation":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "imitation" else find(name, *a)
import sb3_course
from sb3_course import *
for name in ("BC", "DAgger"):
    try:
        exec(f"from sb3_course import {name}")
    except ImportError as error:
        assert "pip install --no-deps imitation" in str(error), error
    else:
        raise SystemExit("imported")
from sb3_course.cli.app import invoke
raise SystemExit(invoke(["imitate", "CartPole-v1"]))
"""


def test_a_missing_extra_is_named():
    done = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "pip install --no-deps imitation" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_environment_may_be_a_name_or_a_plain_one():
    for env in (
        "CartPole-v1",
        gym.make("CartPole-v1"),
        DummyVecEnv([lambda: gym.make("CartPole-v1")]),
    ):
        model = BC("MlpPolicy", env, learning_rate=1e-2, seed=0, device="cpu")
        model.set_demonstrations(samples(model.get_env()))
        before = mean_loss(model)
        assert mean_loss(model.learn(1000)) < before


# -- demonstrations without an end ---------------------------------------------------------------


def endless(read, n=10):
    """Yield trajectories of ten transitions for ever; note each in a list."""
    rng = np.random.default_rng(0)
    while True:
        read.append(n)
        yield {"obs": rng.normal(size=(n, 4)), "acts": rng.integers(2, size=n)}


def test_endless_demonstrations_are_read_as_far_as_learning_uses_them():
    read = []
    model = BC("MlpPolicy", "CartPole-v1", endless(read), batch_size=8, seed=0, device="cpu")
    assert len(read) == 1  # enough to see whether they fit
    model.learn(60)
    assert len(read) == 7 and model.dataset.size == 70  # 8 steps of 8
    model.learn(40, reset_num_timesteps=False)  # 104 in all
    assert len(read) == 11
    model.learn(40)
    assert len(read) == 11


def test_what_does_not_fit_is_refused_at_the_first_item():
    read = []
    with pytest.raises(ValueError, match="the observations have the shape"):
        BC("MlpPolicy", "MountainCar-v0", endless(read))
    assert len(read) == 1


def test_a_list_and_an_iterator_that_end_are_the_same_demonstrations():
    parts = [part for _, part in zip(range(3), endless([]), strict=False)]
    settings = {"batch_size": 8, "seed": 0, "device": "cpu"}
    models = [BC("MlpPolicy", "CartPole-v1", given, **settings) for given in (parts, iter(parts))]
    assert [model.dataset.size for model in models] == [30, 10]
    assert same(*[model.learn(400) for model in models])


def test_a_copy_and_a_file_hold_what_has_been_read(tmp_path):
    model = BC("MlpPolicy", "CartPole-v1", endless([]), batch_size=8, seed=0, device="cpu")
    model.learn(60)
    model.save(tmp_path / "bc.zip")
    loaded = BC.load(tmp_path / "bc.zip", env="CartPole-v1", device="cpu")
    for other in (copy.deepcopy(model), loaded):
        assert other.learn(200).dataset.size == 70


def test_statistics_are_those_of_what_was_read():
    envs = VecNormalize(make_vec_env("CartPole-v1", 1))
    model = BC("MlpPolicy", envs, endless([]), batch_size=8, seed=0, device="cpu").learn(60)
    seen = model.dataset.obs
    assert len(seen) == 70
    np.testing.assert_allclose(envs.obs_rms.mean, seen.mean(axis=0), atol=1e-3)


@pytest.mark.parametrize("how", ["set_env", "load"])
def test_a_new_normalization_sees_the_demonstrations_when_it_comes(how, tmp_path):
    obs = np.random.default_rng(0).normal(50, 20, (500, 4)).astype(np.float32)
    given = {"obs": obs, "acts": (obs[:, 2] > 50).astype(int)}
    model = BC("MlpPolicy", "CartPole-v1", demonstrations=given, seed=0)
    late = VecNormalize(make_vec_env("CartPole-v1", 1))
    if how == "load":
        model.save(tmp_path / "raw.zip")
        model = BC.load(tmp_path / "raw.zip", env=late)
    else:
        model.set_env(late)
    np.testing.assert_allclose(late.obs_rms.mean, obs.mean(axis=0), rtol=1e-4)
    count = late.obs_rms.count
    model.set_env(late)  # which has seen them
    assert late.obs_rms.count == count


class Stop(BaseCallback):
    """Ends a training after a few calls."""

    def _on_step(self):
        return self.n_calls < 5


@pytest.mark.parametrize("demonstrations", ["arrays", "generator"])
def test_a_training_that_a_callback_ends_may_be_of_any_length(demonstrations):
    env = any_env()
    given = samples(env, 40)
    if demonstrations == "generator":  # which has an end, and may have none
        given = (sample for sample in [given])
        model = BC("MlpPolicy", env, given, batch_size=16, seed=0)
        with pytest.raises(ValueError, match="may be endless.* total_timesteps must be finite"):
            model.learn(float("inf"), Stop())
        return
    model = BC("MlpPolicy", env, given, batch_size=16, seed=0)
    assert model.learn(float("inf"), Stop())._n_updates == 5
