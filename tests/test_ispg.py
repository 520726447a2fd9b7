import warnings
from itertools import product

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from sb3_course import ISPG, REINFORCE, estimators
from sb3_course.envs.enumerable import TabularMDP
from sb3_course.estimators import natural_gradient
from sb3_course.ispg import RATIOS
from tests.worlds import two_episodes, z_scores

UNBIASED = ("trajectory", "per_decision")
BASELINES = (None, "mean", "optimal", "value")


def off_policy(ratio, n_episodes=100, n_batches=1, **kwargs):
    """A model at θ that collects with θ': the two differ enough for weights from 0.2 to 4."""
    world = TabularMDP(num_envs=n_episodes)
    model = Recorder(
        "MlpPolicy",
        world,
        critic_learning_rate=0.02,
        n_episodes=n_episodes,
        n_epochs=2,
        n_batches=n_batches,
        gamma=1.0,
        ratio=ratio,
        min_ess=0.0,
        policy_kwargs={"net_arch": []},
        device="cpu",
        seed=0,
        **kwargs,
    )
    generator = th.Generator().manual_seed(3)
    size = sum(p.numel() for p in model.actor_parameters)
    theta = th.randn(size, generator=generator)
    behavior = theta + 0.4 * th.randn(size, generator=generator)
    return model, world, theta, behavior


class Recorder(ISPG):
    """Moves to ``theta`` in the first epoch of ``train``, and records the gradients there."""

    def ascend(self, gradient):
        self.gradients.append(gradient.numpy())
        if self.theta is not None:
            natural_gradient.assign(self.actor_parameters, self.theta)


def estimates(model, theta, behaviors, batches=200):
    """Gradient estimates at θ, each from one batch of each behavior policy, (batches, P)."""
    _, callback = model._setup_learn(10**9)
    rows = []
    for _ in range(batches):
        for behavior in behaviors:
            natural_gradient.assign(model.actor_parameters, behavior)
            model.collect_rollouts(model.env, callback)
            model.gradients, model.theta = [], theta if behavior is behaviors[-1] else None
            model.train()
        rows.append(model.gradients[1])  # of the second epoch, in which π' is not π_θ
    return np.array(rows, dtype=np.float64)


def expected(world, model, theta, behavior, weigh):
    """E_π'[Σ_t ∇log π_θ(a_t|s_t) w_t] / horizon by enumeration, w = weigh(ratios, rewards)."""
    natural_gradient.assign(model.actor_parameters, behavior)
    old = world.log_probs(model.policy).detach()
    natural_gradient.assign(model.actor_parameters, theta)
    new = world.log_probs(model.policy)
    surrogate = th.zeros((), dtype=th.float64)
    for p, states, actions, rewards in world.trajectories():
        s, a = list(states), list(actions)
        probability = p * old[s, a].sum().exp()
        ratios = (new[s, a] - old[s, a]).exp().detach().numpy()
        surrogate = surrogate + probability * (new[s, a] * th.tensor(weigh(ratios, rewards))).sum()
    gradients = th.autograd.grad(surrogate / world.horizon, model.actor_parameters)
    return natural_gradient.flatten(gradients).double()


@pytest.mark.parametrize("reward_to_go", [True, False])
@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("ratio", UNBIASED)
def test_unbiased_ratios_estimate_the_new_policys_gradient(ratio, baseline, reward_to_go):
    """20,000 episodes of another policy, 3 standard errors; seeds fixed (see test_reinforce)."""
    model, world, theta, behavior = off_policy(ratio, baseline=baseline, reward_to_go=reward_to_go)
    rows = estimates(model, theta, [behavior])
    truth = world.gradient(model.policy, model.actor_parameters)
    assert np.abs(z_scores(rows, truth)).max() < 3
    ignored = expected(world, model, theta, behavior, lambda ratios, rewards: to_go(rewards))
    assert np.abs(z_scores(rows, ignored)).max() > 5


@pytest.mark.parametrize(
    ("ratio", "weigh"),
    [
        ("prefix", lambda ratios, rewards: np.cumprod(ratios) * to_go(rewards)),
        ("step", lambda ratios, rewards: ratios * to_go(rewards)),
    ],
)
def test_biased_ratios_have_the_bias_they_should(ratio, weigh):
    model, world, theta, behavior = off_policy(ratio, baseline=None)
    rows = estimates(model, theta, [behavior])
    assert np.abs(z_scores(rows, expected(world, model, theta, behavior, weigh))).max() < 3
    truth = world.gradient(model.policy, model.actor_parameters)
    assert np.abs(z_scores(rows, truth)).max() > 4


def to_go(rewards):
    return np.cumsum(rewards[::-1])[::-1].copy()


@pytest.mark.parametrize("ratio", UNBIASED)
def test_the_balance_heuristic_is_unbiased_and_of_less_variance(ratio):
    """Two behavior policies, one of them far off."""
    variances = []
    for balance in (False, True):
        model, world, theta, behavior = off_policy(
            ratio, n_episodes=50, n_batches=2, baseline="value", balance_heuristic=balance
        )
        far = theta + 2.0 * (behavior - theta)
        rows = estimates(model, theta, [theta + 0.1 * (behavior - theta), far])
        truth = world.gradient(model.policy, model.actor_parameters)
        assert np.abs(z_scores(rows, truth)).max() < 3
        variances.append(rows.var(0).sum())
    assert variances[1] < 0.8 * variances[0]


@pytest.mark.parametrize(
    "kwargs",
    [
        {"baseline": "mean"},
        {"baseline": "optimal"},
        {"self_normalize": True},
        {"normalize_advantage": True},
    ],
)
def test_the_balance_heuristic_refuses_what_looks_at_single_batches(kwargs):
    with pytest.raises(ValueError, match="only the weighted sum over all batches is unbiased"):
        cartpole(balance_heuristic=True, **kwargs)


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize(("baseline", "reward_to_go"), [*product(BASELINES, (True, False))])
def test_one_epoch_of_one_batch_is_reinforce(ratio, baseline, reward_to_go):
    results = []
    for algorithm, kwargs in (
        (REINFORCE, {}),
        (ISPG, {"ratio": ratio, "n_epochs": 1, "n_batches": 1}),
    ):
        model = algorithm(
            "MlpPolicy",
            make_vec_env("CartPole-v1", 2, seed=0),
            n_steps=32,
            baseline=baseline,
            reward_to_go=reward_to_go,
            seed=0,
            device="cpu",
            **kwargs,
        ).learn(400)
        results.append(th.cat([p.flatten() for p in model.policy.parameters()]))
    assert (results[0] - results[1]).abs().max() < 1e-6


# -- weights -------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"max_weight": 5.0}, {"self_normalize": True}])
@pytest.mark.parametrize("log_weight", [90.0, 800.0])  # beyond float32, and beyond float64
def test_a_weight_that_overflows_stops_training_and_says_how_to_go_on(settings, log_weight):
    model, *_ = off_policy("step", n_episodes=4, **settings)
    rollout = two_episodes(np.zeros((6, 1)))
    logs = np.zeros((6, 1))
    logs[2] = log_weight
    if not settings:
        with pytest.raises(FloatingPointError, match=rf"e\^{log_weight:.0f}.*max_weight"):
            model._weights(rollout, logs)
        return
    weights = model._weights(rollout, logs)
    assert np.isfinite(weights).all()
    assert weights.max() == pytest.approx(5.0)  # the mean of five is 1: one has all


@pytest.mark.parametrize(
    ("ratio", "weights", "means"),
    [
        # The first episode keeps its last weight, 6, when the second goes on alone.
        ("prefix", [2, 6, 4, 2, 10], [3, 4, 3, 4, 8]),
        ("step", [2, 6, 4, 2, 10], [4.8] * 5),
        ("trajectory", [6, 6, 10, 10, 10], [8] * 5),
    ],
)
@pytest.mark.parametrize("shift", [0.0, 2000.0])
def test_self_normalized_by_hand(ratio, weights, means, shift):
    rollout = two_episodes(np.zeros((6, 1)))
    logs = np.log(np.array([[*weights, 1.0]]).T) + shift
    got = estimators.self_normalized(ratio, logs, rollout)
    assert np.exp(rollout.flat(got)) == pytest.approx(np.array(weights) / means)


def test_normalize_advantage_gives_a_constant_reward_no_gradient():
    """Off-policy, subtracting a plain mean would reinforce every action away from π'."""
    model, world, theta, behavior = off_policy("per_decision", baseline=None)
    model.normalize_advantage = True
    world.reward[:] = 1.0
    rows = estimates(model, theta, [behavior], batches=100)
    assert np.abs(z_scores(rows, th.zeros(rows.shape[1], dtype=th.float64))).max() < 3


def test_batches_keep_the_baseline_of_a_critic_that_had_not_seen_them():
    model = cartpole(n_batches=2, min_ess=0.0, ratio="step", critic_learning_rate=0.1)
    model.learn(200)
    old = model.past_batches[0]
    model.learn(1, reset_num_timesteps=False)
    assert model.past_batches[1] is old


def test_another_environment_clears_the_past_batches():
    model = cartpole(n_batches=2, min_ess=0.0, ratio="step").learn(200)
    model.set_env(make_vec_env("CartPole-v1", 2))
    assert model.past_batches == []


def test_effective_sample_size_by_hand():
    assert estimators.effective_sample_size(np.array([1.0, 1.0, 1.0, 1.0])) == 1
    assert estimators.effective_sample_size(np.array([1.0, 0.0, 0.0, 0.0])) == 0.25
    assert estimators.effective_sample_size(np.array([3.0, 1.0])) == pytest.approx(16 / 20)
    assert estimators.effective_sample_size(np.zeros(3)) == 0


# -- past batches --------------------------------------------------------------------------------


def cartpole(**kwargs):
    env = make_vec_env("CartPole-v1", 2, seed=0)
    return ISPG("MlpPolicy", env, n_steps=32, seed=0, device="cpu", **kwargs)


@pytest.mark.parametrize("reset_num_timesteps", [False, True])
def test_a_loaded_model_goes_on_with_the_past_batches(reset_num_timesteps, tmp_path):
    """As the one in memory does, from whichever number its steps are counted."""
    env = make_vec_env("CartPole-v1", 2, seed=5)
    model = ISPG("MlpPolicy", env, n_steps=50, n_batches=3, min_ess=0.0, seed=1).learn(600)
    model.save(tmp_path / "model")
    for each in (model, ISPG.load(tmp_path / "model", env=env)):
        each.learn(1, reset_num_timesteps=reset_num_timesteps)
        assert len(each.past_batches) == 3
        assert "train/ess/2" in each.logger.name_to_value


class CountsPastBatches(BaseCallback):
    def _on_step(self):
        return True

    def _on_rollout_start(self):
        self.n = getattr(self, "n", len(self.model.past_batches))


@pytest.mark.parametrize("reset_num_timesteps", [False, True])
@pytest.mark.parametrize("gravity", [10.0, 1.0])
@pytest.mark.parametrize("when", ["loaded", "set"])
def test_batches_of_another_task_are_not_learned_from(when, gravity, reset_num_timesteps, tmp_path):
    def task(g=10.0):
        return make_vec_env("Pendulum-v1", 2, seed=0, env_kwargs={"g": g})

    env = task()
    model = ISPG("MlpPolicy", env, n_episodes=2, n_batches=3, min_ess=0.0, seed=1).learn(1200)
    model.save(tmp_path / "model")
    count, another = CountsPastBatches(), when == "set" or gravity != 10.0
    loaded = ISPG.load(tmp_path / "model", env=task(gravity) if when == "loaded" else env)
    if when == "set":  # as of the model in memory, whatever the environment is
        loaded.set_env(task(gravity))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        loaded.learn(1, count, reset_num_timesteps=reset_num_timesteps)
    assert count.n == (0 if another else 3)
    said = " ".join(str(w.message) for w in told)
    assert ("the environment was made otherwise: PendulumEnv.g is 1.0" in said) == (
        gravity != 10.0 and not (when == "set" and reset_num_timesteps)
    )


def test_past_batches_are_the_last_ones():
    model = cartpole(n_batches=3, min_ess=0.0, ratio="step", n_epochs=1)
    model.learn(1000)
    assert len(model.past_batches) == 3
    assert model.past_batches[0].rollout is model.rollout
    assert model.logger.name_to_value.keys() >= {f"train/ess/{i}" for i in range(3)}
    assert model.n_dropped_batches == 0


def test_a_sample_size_is_logged_by_the_age_that_its_batch_had(monkeypatch):
    """Also once the newest one has been dropped, between two steps on the others."""
    model = cartpole(n_batches=2, min_ess=0.0, n_epochs=3).learn(200)
    sizes = iter([1.0, 0.9, 0.1, 0.8, 0.7])  # of the newest and the other, twice; of the other
    monkeypatch.setattr(model, "_effective_sample_size", lambda *_: next(sizes))
    monkeypatch.setattr(model, "_remember", lambda rollout: model.past_batches[0])
    model.min_ess = 0.5
    model.train()
    logged = model.logger.name_to_value
    assert (logged["train/ess/0"], logged["train/ess/1"]) == (0.1, 0.7)


def test_a_batch_that_is_worth_too_little_is_dropped_and_counted():
    model = cartpole(n_batches=3, min_ess=1.0, learning_rate=0.03).learn(1000)
    assert model.n_dropped_batches > 0
    assert len(model.past_batches) < 3
    assert model.logger.name_to_value["train/dropped_batches"] == model.n_dropped_batches


def test_max_weight_bounds_the_weights():
    loose, tight = (cartpole(max_weight=w, min_ess=0.0).learn(300) for w in (1e9, 0.5))
    plain = cartpole(min_ess=0.0).learn(300)
    parameters = [
        th.cat([p.flatten() for p in m.policy.parameters()]) for m in (loose, tight, plain)
    ]
    assert th.equal(parameters[0], parameters[2])
    assert not th.equal(parameters[1], parameters[2])


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"ratio": "foo"}, "ratio must be one of 'trajectory', 'per_decision', 'prefix', 'step'"),
        ({"n_epochs": 0}, "n_epochs must be a whole number of at least 1, got 0"),
        ({"n_batches": 0}, "n_batches must be a whole number of at least 1, got 0"),
        ({"max_weight": 0}, "max_weight must be a positive number or None, got 0"),
        ({"min_ess": 2}, "min_ess must be a number from 0 to 1, got 2"),
        ({"baseline": "foo"}, "baseline must be one of"),
    ],
)
def test_bad_parameters(kwargs, message):
    with pytest.raises(ValueError, match=message):
        ISPG("MlpPolicy", "CartPole-v1", **kwargs)


@pytest.mark.slow
def test_reuse_learns_cartpole_from_fewer_steps_than_reinforce():
    """Environment steps until the mean of 20 deterministic episodes is 475: medians of 5 seeds."""
    needed = {REINFORCE: [], ISPG: []}
    for seed, algorithm in product(range(5), needed):
        until = Until475()
        env = make_vec_env("CartPole-v1", 8, seed=seed)
        kwargs = {"n_steps": 64, "learning_rate": 3e-3, "seed": seed, "device": "cpu"}
        algorithm("MlpPolicy", env, **kwargs).learn(100_000, callback=until)
        needed[algorithm].append(until.steps)
    assert np.median(needed[ISPG]) < np.median(needed[REINFORCE]), needed


class Until475(BaseCallback):
    """Stops learning at an evaluation of 475 or more; ``steps`` is when, or infinity."""

    def __init__(self):
        super().__init__()
        self.env, self.steps = make_vec_env("CartPole-v1", 10, seed=1000), np.inf

    def _on_rollout_start(self):
        state = th.get_rng_state()
        if evaluate_policy(self.model, self.env, 20)[0] >= 475:
            self.steps = self.num_timesteps
        th.set_rng_state(state)

    def _on_step(self):
        return self.steps == np.inf


def test_another_policy_clears_the_past_batches():
    model = cartpole(n_batches=2, min_ess=0.0, ratio="step").learn(200)
    assert len(model.past_batches) == 2
    spaces = model.observation_space, model.action_space
    model.policy = type(model.policy)(*spaces, lambda _: 1e-3, net_arch=[8])
    model.learn(200, reset_num_timesteps=False)
    assert all(len(b.theta) == len(model.past_batches[0].theta) for b in model.past_batches)


def test_a_batch_whose_weights_underflow_has_no_gradient_when_centered():
    model = cartpole(normalize_advantage=True, baseline=None).learn(64)
    steps = model.rollout.mask.shape
    advantages = model._centered(model.rollout, np.zeros(steps), np.zeros(steps))
    assert not advantages.any()


class Noise(BaseCallback):
    """Changes the weights of the actor's last layer before a batch is trained on."""

    def _on_step(self):
        return True

    def _on_rollout_end(self):
        rollout, model = self.locals["rollout"], self.model
        self.log_prob = model.log_probs(*model.tensors(rollout))
        with th.no_grad():
            model.policy.action_net.weight.normal_()


def test_the_behavior_policy_is_the_one_that_has_acted():
    callback = Noise()
    model = cartpole(ratio="step", n_epochs=1, learning_rate=0.0).learn(1, callback)
    rollout = model.rollout
    changed = model.log_probs(*model.tensors(rollout))
    (old,) = model._log_old()
    assert np.allclose(rollout.flat(old), callback.log_prob.cpu(), atol=1e-5)
    (log_w,) = model._log_weights([old], 0)
    assert np.allclose(rollout.flat(log_w), (changed - callback.log_prob).cpu(), atol=1e-5)
    assert model.logger.name_to_value["train/ess/0"] < 1


def test_an_interrupt_while_an_old_policy_is_evaluated_leaves_the_present_one(monkeypatch):
    """It may be saved then, as by the command line."""
    model = cartpole(n_batches=2, balance_heuristic=True, min_ess=0).learn(60)
    theta, evaluate = model._theta(), model.log_probs

    def interrupted(*args):
        if not th.equal(model._theta(), theta):
            raise KeyboardInterrupt
        return evaluate(*args)

    monkeypatch.setattr(model, "log_probs", interrupted)
    for batch in model.past_batches:
        batch.behaviors[:] = [None] * len(batch.behaviors)
    with pytest.raises(KeyboardInterrupt):
        model._log_old()
    assert th.equal(model._theta(), theta)
