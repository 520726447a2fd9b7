import gymnasium
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import sb3_course
from sb3_course import BC, NPG, BatchActorCritic, estimators
from sb3_course.collection import FixedSteps, WholeEpisodes
from sb3_course.common.policy_gradient import PolicyGradientAlgorithm
from tests.contract.helpers import (
    any_env,
    copy_parameters,
    equal_tensors,
    every_class,
    small_model,
    takes,
)
from tests.imitation.test_bc import samples
from tests.worlds import Scripted


class MinimalAlgorithm(PolicyGradientAlgorithm):
    """The least that a subclass defines: when a batch is complete, and one update."""

    def _schedule(self):
        return FixedSteps(self.n_envs, self.n_steps)

    def train(self):
        self.update_learning_rates()
        rollout = self.rollout
        obs = self.to_tensor(rollout.flat_obs)
        actions = self.to_tensor(rollout.flat(rollout.actions))
        returns = rollout.flat(estimators.reward_to_go(rollout.rewards, rollout.ends, self.gamma))
        log_prob, entropy = self.evaluate_actions(obs, actions)
        loss = -(log_prob * self.to_tensor(self.normalized(returns))).mean()
        self.log_policy(loss, entropy)
        self.step_actor(loss - self.ent_coef * entropy)
        self.fit_critic(obs, self.to_tensor(returns))


def cartpole(**kwargs):
    return small_model(BatchActorCritic, "CartPole-v1", **kwargs)


def flat(tensors):
    return th.cat([t.detach().flatten() for t in tensors]).clone()


# -- subclasses ----------------------------------------------------------------------------------


def test_a_subclass_without_a_constructor_learns_and_continues_after_loading(tmp_path):
    def learn_more(model):
        return copy_parameters(model.learn(64, reset_num_timesteps=False))

    def make_env():
        return make_vec_env("CartPole-v1", 2, seed=0)

    model = MinimalAlgorithm(
        "MlpPolicy", make_env(), learning_rate=1e-2, n_steps=16, seed=0, verbose=0, device="cpu"
    )
    before = copy_parameters(model)
    model.learn(64)
    after = copy_parameters(model)
    assert all(not th.equal(before[key], after[key]) for key in before)
    assert (model.num_timesteps, model._n_updates, model.n_steps) == (64, 2, 16)
    assert model.actor_optimizer.param_groups[0]["lr"] == 1e-2

    model.save(tmp_path / "minimal")
    undisturbed = learn_more(model)
    loaded = MinimalAlgorithm.load(tmp_path / "minimal", env=make_env(), device="cpu")
    assert (loaded.num_timesteps, loaded.n_steps) == (64, 16)
    assert equal_tensors(after, copy_parameters(loaded))
    assert equal_tensors(undisturbed, learn_more(loaded))


def test_policy_and_env_are_all_that_a_constructor_needs():
    model = MinimalAlgorithm("MlpPolicy", "CartPole-v1")
    before = flat(model.actor_parameters)
    assert model.learn(1).num_timesteps == model.n_steps
    assert not th.equal(before, flat(model.actor_parameters))


@pytest.mark.parametrize("n_envs", [1, 3, 8])
@pytest.mark.parametrize("name", ["NPG", "BatchActorCritic", "REINFORCE", "ISPG"])
def test_the_default_batch_counts_the_transitions_of_all_environments(name, n_envs):
    algorithm = getattr(sb3_course, name)
    env = DummyVecEnv([lambda: Scripted([1.0] * 5)] * n_envs)
    model = algorithm("MlpPolicy", env, seed=0, device="cpu").learn(1)
    wanted = algorithm.default_transitions
    assert wanted <= model.rollout.n_transitions < wanted + 5 * n_envs


@pytest.mark.parametrize(("given", "wanted"), [({}, 128), ({"n_steps": 1000}, 1000)])
def test_a_default_batch_is_computed_again_for_other_environments(given, wanted, tmp_path):
    sb3_course.NPG("MlpPolicy", "CartPole-v1", device="cpu", **given).save(tmp_path / "model")
    env = DummyVecEnv([lambda: gymnasium.make("CartPole-v1")] * 8)
    assert sb3_course.NPG.load(tmp_path / "model", env=env).n_steps == wanted
    loaded = sb3_course.NPG.load(tmp_path / "model", env=env, n_steps=7)
    loaded.save(tmp_path / "again")
    assert loaded.n_steps == sb3_course.NPG.load(tmp_path / "again").n_steps == 7


def test_bad_parameters_of_a_subclass_without_a_constructor_are_named():
    with pytest.raises(ValueError, match="gamma must be a number from 0 to 1, got 2"):
        MinimalAlgorithm("MlpPolicy", "CartPole-v1", gamma=2)


def test_a_subclass_must_define_when_a_batch_is_complete():
    class WithoutSchedule(BatchActorCritic):
        _schedule = PolicyGradientAlgorithm._schedule

    with pytest.raises(NotImplementedError):
        small_model(WithoutSchedule, "CartPole-v1").learn(1)


# -- learning rates ------------------------------------------------------------------------------


def test_the_critic_takes_the_actors_learning_rate_unless_it_has_its_own():
    one = cartpole(learning_rate=0.5, critic_learning_rate=None)
    two = cartpole(learning_rate=0.5, critic_learning_rate=lambda progress: 0.25 * progress)
    assert [m.actor_optimizer.param_groups[0]["lr"] for m in (one, two)] == [0.5, 0.5]
    assert [m.critic_optimizer.param_groups[0]["lr"] for m in (one, two)] == [0.5, 0.25]
    two._setup_learn(1)
    two._current_progress_remaining = 0.5
    two.update_learning_rates()
    assert two.critic_optimizer.param_groups[0]["lr"] == 0.125


# -- collection ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("whole_episodes", "first_obs"), [(True, 0.0), (False, 2.0)])
def test_only_batches_of_whole_episodes_begin_with_a_reset(whole_episodes, first_obs):
    """Two steps of a three-step episode, then the next batch."""
    model = small_model(BatchActorCritic, DummyVecEnv([Scripted]), n_steps=2).learn(2)
    if whole_episodes:
        model._schedule = lambda: WholeEpisodes(1, n_episodes=1)
    model.learn(1, reset_num_timesteps=False)
    assert model.rollout.obs[0].item() == first_obs


def test_the_log_counts_trajectories_transitions_and_wasted_steps():
    env = DummyVecEnv([lambda: Scripted(rewards=(5.0,)), Scripted])
    model = small_model(BatchActorCritic, env)
    model._schedule = lambda: WholeEpisodes(2, n_episodes=2)  # of 1 and of 3 steps
    _, callback = model._setup_learn(10**6)
    assert model.collect_rollouts(model.env, callback)
    logged = model.logger.name_to_value
    assert logged["rollout/n_trajectories"] == 2
    assert logged["rollout/n_transitions"] == 4
    assert logged["rollout/wasted_fraction"] == pytest.approx(2 / 6)


KWARGS = {"seed": 0, "device": "cpu"}


def short(algorithm):
    return KWARGS | ({"n_steps": 16} if takes(algorithm, "n_steps") else {})


@pytest.mark.parametrize("kwargs", [{"policy": "MlpPolicy"}, {"policy_kwargs": {}}])
def test_the_imitators_policy_is_no_argument(kwargs):
    bc = BC("MlpPolicy", make_vec_env("CartPole-v1", 2, seed=0), **KWARGS)
    with pytest.raises(ValueError, match=f"{next(iter(kwargs))} is the imitator's"):
        NPG.from_imitation(bc, make_vec_env("CartPole-v1", 2), **kwargs)


@every_class
@pytest.mark.parametrize("wrap", [lambda venv: venv, VecNormalize], ids=["raw", "normalized"])
def test_carries_on_from_the_policy_with_fresh_optimizers(algorithm, wrap):
    env = wrap(make_vec_env("CartPole-v1", 2, seed=0))
    bc = BC("MlpPolicy", env, samples(env), policy_kwargs={"net_arch": [16]}, **KWARGS).learn(2000)
    model = algorithm.from_imitation(bc, make_vec_env("CartPole-v1", 2, seed=1), **short(algorithm))
    raw = samples(env)["obs"]
    old, new = bc.get_vec_normalize_env(), model.get_vec_normalize_env()
    assert (old is None) == (new is None)
    if old is not None:
        np.testing.assert_array_equal(old.obs_rms.mean, new.obs_rms.mean)
        np.testing.assert_array_equal(old.obs_rms.var, new.obs_rms.var)
        assert new.training and new is not old
        raw = new.normalize_obs(raw)
    for deterministic in (True, False):
        th.manual_seed(0)
        expected, _ = bc.predict(raw, deterministic=deterministic)
        th.manual_seed(0)
        np.testing.assert_array_equal(expected, model.predict(raw, deterministic=deterministic)[0])
    assert not model.actor_optimizer.state and not model.critic_optimizer.state
    before = [p.clone() for p in bc.policy.parameters()]
    model.learn(100)
    assert all(th.equal(a, b) for a, b in zip(before, bc.policy.parameters()))  # a copy
    assert not all(th.equal(a, b) for a, b in zip(before, model.policy.parameters()))


@every_class
def test_what_the_imitator_has_frozen_stays_frozen(algorithm):
    env = make_vec_env("CartPole-v1", 2, seed=0)
    bc = BC("MlpPolicy", env, samples(env), **KWARGS)
    bc.policy.mlp_extractor.policy_net[0].requires_grad_(False)
    model = algorithm.from_imitation(bc, env, **short(algorithm)).learn(100)
    new, old = (m.policy.mlp_extractor.policy_net for m in (model, bc))
    assert th.equal(new[0].weight, old[0].weight)
    assert not th.equal(new[2].weight, old[2].weight)


def test_dict_observations():
    env = any_env(spaces.Dict({"a": spaces.Box(-1, 1, (3,))}))
    bc = BC("MultiInputPolicy", env, samples(env), **KWARGS).learn(200)
    model = sb3_course.NPG.from_imitation(bc, any_env(env.observation_space), n_steps=16, **KWARGS)
    obs = samples(env)["obs"]
    expected = bc.predict(obs, deterministic=True)[0]
    np.testing.assert_array_equal(model.predict(obs, deterministic=True)[0], expected)


@pytest.mark.parametrize(
    ("space", "other"),
    [
        (spaces.Box(-1, 1, (1,)), spaces.Box(-5, 5, (1,))),
        (spaces.MultiDiscrete([2, 3]), spaces.MultiDiscrete([3, 2])),
        (spaces.MultiDiscrete([2, 3]), spaces.Discrete(5)),
        (spaces.Discrete(2), spaces.Discrete(3)),
    ],
    ids=str,
)
def test_other_spaces_than_the_imitators_are_refused(space, other):
    """Its actions would mean others there."""
    obs = spaces.Box(-1, 1, (3,))
    bc = BC("MlpPolicy", any_env(obs, space), **KWARGS)
    NPG.from_imitation(bc, any_env(obs, space), **KWARGS)
    with pytest.raises(ValueError, match="the imitator does not fit: actions are in"):
        NPG.from_imitation(bc, any_env(obs, other), **KWARGS)
    with pytest.raises(ValueError, match="the imitator does not fit: observations are in"):
        NPG.from_imitation(bc, any_env(spaces.Box(-1, 1, (4,)), space), **KWARGS)


def test_takes_a_name():
    bc = BC("MlpPolicy", "CartPole-v1", **KWARGS)
    assert sb3_course.NPG.from_imitation(bc, "CartPole-v1", **KWARGS).n_envs == 1


def test_refuses_normalization_that_the_policy_does_not_know():
    bc = BC("MlpPolicy", "CartPole-v1", **KWARGS)
    with pytest.raises(ValueError, match="raw observations"):
        sb3_course.NPG.from_imitation(bc, VecNormalize(make_vec_env("CartPole-v1", 1)), **KWARGS)
    rewards_alone = VecNormalize(make_vec_env("CartPole-v1", 1), norm_obs=False)
    sb3_course.NPG.from_imitation(bc, rewards_alone, **KWARGS)
