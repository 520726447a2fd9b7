import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_course import BatchActorCritic, estimators
from sb3_course.collection import FixedSteps, WholeEpisodes
from sb3_course.common import policy_gradient
from sb3_course.common.policy_gradient import PolicyGradientAlgorithm
from tests.contract.helpers import (
    ACTIONS,
    any_env,
    copy_parameters,
    equal_tensors,
    small_model,
)
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
        model.set_random_seed(7)
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
    loaded = MinimalAlgorithm.load(tmp_path / "minimal", env=make_env(), device="cpu")
    assert (loaded.num_timesteps, loaded.n_steps) == (64, 16)
    assert equal_tensors(after, copy_parameters(loaded))
    model.set_env(make_env())
    assert equal_tensors(learn_more(model), learn_more(loaded))


def test_policy_and_env_are_all_that_a_constructor_needs():
    model = MinimalAlgorithm("MlpPolicy", "CartPole-v1")
    before = flat(model.actor_parameters)
    assert model.learn(1).num_timesteps == model.n_steps
    assert not th.equal(before, flat(model.actor_parameters))


def test_bad_parameters_of_a_subclass_without_a_constructor_are_named():
    with pytest.raises(ValueError, match="gamma must be a number from 0 to 1, got 2"):
        MinimalAlgorithm("MlpPolicy", "CartPole-v1", gamma=2)


def test_a_subclass_must_define_when_a_batch_is_complete():
    class WithoutSchedule(BatchActorCritic):
        _schedule = PolicyGradientAlgorithm._schedule

    with pytest.raises(NotImplementedError):
        small_model(WithoutSchedule, "CartPole-v1").learn(1)


# -- parameters and optimizers -------------------------------------------------------------------


@pytest.mark.parametrize("share", [True, False])
def test_actor_and_critic_share_no_parameter_and_leave_none_out(share):
    env = any_env(spaces.Box(0, 255, (36, 36, 1), dtype=np.uint8))
    policy_kwargs = {"share_features_extractor": share, "net_arch": [4]}
    model = small_model(BatchActorCritic, env, "CnnPolicy", policy_kwargs=policy_kwargs)
    actor, critic = (
        {id(p) for p in ps} for ps in (model.actor_parameters, model.critic_parameters)
    )
    assert not actor & critic
    assert actor | critic == {id(p) for p in model.policy.parameters()}
    for optimizer, ids in ((model.actor_optimizer, actor), (model.critic_optimizer, critic)):
        assert {id(p) for group in optimizer.param_groups for p in group["params"]} == ids


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
    model.learn(2, reset_num_timesteps=False)
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


# -- what updates use ----------------------------------------------------------------------------


def test_values_are_predicted_in_chunks_in_evaluation_mode(monkeypatch):
    model = cartpole()
    obs = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    with th.no_grad():
        expected = model.policy.predict_values(th.from_numpy(obs)).flatten().numpy()
    sizes, predict = [], model.policy.predict_values

    def watch(chunk):
        assert not model.policy.training
        sizes.append(len(chunk))
        return predict(chunk)

    monkeypatch.setattr(policy_gradient, "PREDICT_CHUNK", 4)
    monkeypatch.setattr(model.policy, "predict_values", watch)
    model.policy.set_training_mode(True)
    values = model.predict_values(obs)
    assert sizes == [4, 4, 2]
    assert values.dtype == np.float64 and values == pytest.approx(expected, abs=1e-6)
    assert model.policy.training


def test_values_of_dict_observations_are_predicted():
    env = any_env(spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Discrete(3)}))
    model = small_model(BatchActorCritic, env, "MultiInputPolicy")
    obs = {"a": np.zeros((5, 2), np.float32), "b": np.arange(5) % 3}
    values = model.predict_values(obs)
    assert values.shape == (5,)
    assert values[0] == values[3] != values[1]


@pytest.mark.parametrize(("end", "last"), [("terminated", 0.0), ("truncated", 30.0)])
def test_values_that_follow_a_step_are_zero_only_after_terminal_states(end, last):
    model = small_model(BatchActorCritic, DummyVecEnv([lambda: Scripted(end=end)]), n_steps=3)
    model.learn(3)
    model.predict_values = lambda obs: 10.0 * obs[:, 0]
    values, following = model.predict_rollout(model.rollout)
    assert values.ravel().tolist() == [0, 10, 20]
    assert following.ravel().tolist() == [10, 20, last]


def test_a_distribution_stays_the_same_when_the_policy_is_asked_again():
    model = cartpole()
    one, other = th.zeros(1, 4), th.full((1, 4), 3.0)
    distribution = model.distribution(one)
    expected = distribution.distribution.probs.clone()
    assert not th.equal(model.distribution(other).distribution.probs, expected)
    assert th.equal(distribution.distribution.probs, expected)


@pytest.mark.parametrize("actions", ACTIONS)
def test_actions_are_evaluated_as_the_policy_does(actions):
    model = small_model(BatchActorCritic, any_env(action_space=ACTIONS[actions])).learn(20)
    obs = model.to_tensor(model.rollout.flat_obs)
    actions = model.to_tensor(model.rollout.flat(model.rollout.actions))
    _, expected, expected_entropy = model.policy.evaluate_actions(obs, actions)
    log_prob, entropy = model.evaluate_actions(obs, actions)
    assert log_prob.shape == (len(obs),) and log_prob.requires_grad
    assert th.equal(log_prob, expected) and th.equal(entropy, expected_entropy.mean())


def test_advantages_are_standardized_only_if_asked():
    advantages = np.array([1.0, 3.0, 5.0, 7.0])
    assert cartpole(normalize_advantage=False).normalized(advantages) is advantages
    standard = cartpole(normalize_advantage=True).normalized(advantages)
    assert standard == pytest.approx((advantages - 4) / np.sqrt(5))


# -- steps of the actor --------------------------------------------------------------------------


def sgd_model(**kwargs):
    """A model whose actor moves by minus its gradient."""
    policy_kwargs = {"optimizer_class": th.optim.SGD, "net_arch": []}
    model = cartpole(learning_rate=1.0, policy_kwargs=policy_kwargs, **kwargs)
    model._setup_learn(1)
    return model


@pytest.mark.parametrize(("limit", "scale"), [(None, 1.0), (1.0, 0.5), (4.0, 1.0)])
def test_a_step_is_clipped_to_the_largest_norm(limit, scale):
    model = sgd_model(max_grad_norm=limit)
    weight, bias = model.actor_parameters
    before = flat([bias])
    model.step_actor(2.0 * bias[0] + 0.0 * weight.sum())
    assert (flat([bias]) - before).tolist() == pytest.approx([-2 * scale, 0], abs=1e-5)
    assert model.logger.name_to_value["train/grad_norm"] == pytest.approx(2)
    assert model._n_updates == 1


def test_a_given_gradient_is_added_to_that_of_the_loss():
    model = sgd_model()
    size = sum(p.numel() for p in model.actor_parameters)
    before = flat(model.actor_parameters)
    loss = sum(p.sum() for p in model.actor_parameters)
    model.step_actor(loss, th.arange(size, dtype=th.float64))
    moved = flat(model.actor_parameters) - before
    assert th.allclose(moved, -1 - th.arange(size, dtype=th.float32), atol=1e-5)
    model.step_actor(th.zeros(()), th.ones(size))  # a loss without a graph
    assert th.allclose(flat(model.actor_parameters) - before, moved - 1, atol=1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_step_that_is_not_finite_is_refused_and_changes_nothing(bad):
    model = sgd_model()
    before = flat(model.actor_parameters)
    with pytest.raises(FloatingPointError, match="policy gradient's norm is (nan|inf) at 0 env"):
        model.step_actor(bad * sum(p.sum() for p in model.actor_parameters))
    assert th.equal(before, flat(model.actor_parameters))
    assert model._n_updates == 0


def test_the_critic_is_fitted_by_its_own_number_of_steps():
    model = cartpole(n_critic_updates=3, batch_size=2, critic_learning_rate=1e-2)
    model._setup_learn(1)
    actor, steps = flat(model.actor_parameters), []
    take_step = model.critic_optimizer.step
    model.critic_optimizer.step = lambda: steps.append(take_step())
    critic = flat(model.critic_parameters)
    model.fit_critic(th.rand(6, 4), th.full((6,), 5.0))
    assert len(steps) == 3
    assert th.equal(actor, flat(model.actor_parameters))
    assert not th.equal(critic, flat(model.critic_parameters))
    assert model.logger.name_to_value["train/value_loss"] == pytest.approx(25, rel=0.5)
