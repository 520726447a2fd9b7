import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_course import BatchActorCritic
from tests.contract.helpers import ACTIONS, any_env, small_model
from tests.worlds import Scripted


def cartpole(**kwargs):
    return small_model(BatchActorCritic, "CartPole-v1", **kwargs)


def flat(tensors):
    return th.cat([t.detach().flatten() for t in tensors]).clone()


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

    model.chunk_size = 4
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


def test_a_given_gradient_is_ascended_and_what_was_there_before_is_forgotten():
    model = sgd_model()
    size = sum(p.numel() for p in model.actor_parameters)
    before = flat(model.actor_parameters)
    model.ascend(th.arange(size, dtype=th.float64))
    moved = flat(model.actor_parameters) - before
    assert th.allclose(moved, th.arange(size, dtype=th.float32), atol=1e-5)
    model.step_actor(sum(p.sum() for p in model.actor_parameters))
    assert th.allclose(flat(model.actor_parameters) - before, moved - 1, atol=1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_step_that_is_not_finite_is_refused_and_changes_nothing(bad):
    model = sgd_model()
    before = flat(model.actor_parameters)
    with pytest.raises(FloatingPointError, match="policy gradient's norm is (nan|inf) at 0 env"):
        model.step_actor(bad * sum(p.sum() for p in model.actor_parameters))
    assert th.equal(before, flat(model.actor_parameters))
    assert model._n_updates == 0


def test_the_critic_fits_the_targets_and_the_actor_stays():
    model = cartpole(n_critic_updates=50, batch_size=64, critic_learning_rate=1e-2)
    model._setup_learn(1)
    actor, obs = flat(model.actor_parameters), th.rand(200, 4)
    losses = []
    for _ in range(10):
        model.fit_critic(obs, obs.sum(1) * 3)
        losses.append(model.logger.name_to_value["train/value_loss"])
    assert losses[-1] < 0.01 * losses[0]
    assert th.equal(actor, flat(model.actor_parameters))
    assert all(p.requires_grad and p.grad is None for p in model.actor_parameters)


def test_a_step_of_the_critic_by_hand():
    model = sgd_model(n_critic_updates=1, critic_learning_rate=0.1)
    weight, bias = model.critic_parameters
    with th.no_grad():
        weight.copy_(th.tensor([[2.0, 0.0, 0.0, 0.0]]))
        bias.fill_(1.0)
    model.fit_critic(th.tensor([[1.0, 0, 0, 0], [3.0, 0, 0, 0]]), th.tensor([0.0, 5.0]))
    loss = model.logger.name_to_value["train/value_loss"]
    assert loss == pytest.approx((3**2 + 2**2) / 2)  # V = 3 and 7
    assert weight.flatten().tolist() == pytest.approx([2 - 0.1 * (3 * 1 + 2 * 3), 0, 0, 0])
    assert bias.item() == pytest.approx(1 - 0.1 * (3 + 2))


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


def categorical(**kwargs):
    settings = {"n_steps": 8, "seed": 0, "device": "cpu", **kwargs}
    model = BatchActorCritic("MlpPolicy", "CartPole-v1", **settings)
    model._setup_learn(1)
    obs, actions = th.randn(30, 4), th.randint(2, (30,))
    return model, (obs, actions, th.randn(30))


def by_autograd(model, *batch, **kwargs):
    """Compute the gradient as a subclass that overrides ``evaluate_actions`` has it computed."""
    evaluate = model.evaluate_actions
    model.evaluate_actions = lambda obs, actions: evaluate(obs, actions)
    gradient = model.policy_gradient(*batch, **kwargs)
    del model.evaluate_actions
    return gradient


@pytest.mark.parametrize("ent_coef", [0.0, 0.1])
@pytest.mark.parametrize("entropy_only", [False, True])
@pytest.mark.parametrize("chunk_size", [30, 7])
def test_the_engines_policy_gradient_is_autograds(ent_coef, entropy_only, chunk_size):
    model, batch = categorical(ent_coef=ent_coef)
    model.chunk_size = chunk_size
    assert model._engine() is not None
    for frozen in (False, True):
        model.policy.action_net.bias.requires_grad_(not frozen)
        some = model.policy_gradient(*batch, entropy_only=entropy_only)
        other = by_autograd(model, *batch, entropy_only=entropy_only)
        assert th.equal(some.loss, other.loss) and th.equal(some.entropy, other.entropy)
        assert th.allclose(some.gradient, other.gradient, rtol=1e-5, atol=1e-8)
        assert bool(other.gradient.any()) == (not entropy_only or ent_coef > 0)
        if ent_coef == 0.0 and chunk_size == 30:
            assert th.equal(some.gradient, other.gradient)


def test_a_batch_of_a_trained_policy_has_the_very_gradient_of_autograd():
    model, batch = categorical(learning_rate=0.05)
    for _ in range(5):
        gradient = model.policy_gradient(*batch).gradient
        assert th.equal(gradient, by_autograd(model, *batch).gradient)
        model.ascend(gradient)


class Tempered(BatchActorCritic):
    """A subclass whose log-probabilities are its own."""

    def evaluate_actions(self, obs, actions):
        log_prob, entropy = super().evaluate_actions(obs, actions)
        return 2 * log_prob, entropy


def test_a_subclass_that_evaluates_actions_otherwise_is_heeded():
    model, batch = categorical()
    other = Tempered("MlpPolicy", "CartPole-v1", n_steps=8, seed=0, device="cpu")
    expected = 2 * model.policy_gradient(*batch).gradient
    assert th.allclose(other.policy_gradient(*batch).gradient, expected)


def test_values_and_samples_follow_parameters_that_move_in_memory():
    model, (obs, _, _) = categorical()
    model.predict_values(obs.numpy())
    for p in model.policy.parameters():
        p.data = p.data * 0.0
    assert not model.predict_values(obs.numpy()).any()


class Stop(BaseCallback):
    """Replaces the schedule of the learning rate."""

    def _on_step(self):
        return True

    def _on_rollout_start(self):
        self.model.lr_schedule = lambda _: 0.0


@pytest.mark.parametrize(("rate", "moves"), [(None, False), (1e-2, True)])
def test_the_critic_follows_a_schedule_that_a_callback_replaces(rate, moves):
    model = cartpole(critic_learning_rate=rate)
    before = flat(model.critic_parameters)
    model.learn(50, Stop(), log_interval=None)
    assert th.equal(flat(model.critic_parameters), before) != moves
    assert model.logger.name_to_value["train/learning_rate"] == 0
