import copy
from itertools import product

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.distributions import StateDependentNoiseDistribution
from stable_baselines3.common.policies import ActorCriticCnnPolicy, ActorCriticPolicy
from torch.nn.utils import parameters_to_vector

from sb3_course.common.networks.parameter_groups import split_parameters
from sb3_course.estimators import natural_gradient as ng

OBS = th.tensor([[0.3, -0.2, 0.9], [-0.5, 0.7, 0.1], [0.0, 0.4, -0.8], [1.0, 0.2, 0.3]])
SPACES = {
    "gaussian": spaces.Box(-1, 1, (2,)),
    "categorical": spaces.Discrete(3),
    "multicategorical": spaces.MultiDiscrete([2, 3]),
    "bernoulli": spaces.MultiBinary(2),
}


def make_policy(kind, log_std=-0.3):
    """Make a policy that is not near the uniform one."""
    th.manual_seed(1)
    box = spaces.Box(-1, 1, (3,))
    policy = ActorCriticPolicy(box, SPACES[kind], lambda _: 0, [5], log_std_init=log_std)
    with th.no_grad():
        for parameter in split_parameters(policy)[0]:
            if parameter.ndim == 2:
                parameter.add_(0.5 * th.randn_like(parameter))
    return policy


def actions_and_probabilities(kind, distribution):
    """Yield every action with its probability at each state; quadrature nodes for the Gaussian."""
    inner = distribution.distribution
    if kind == "gaussian":
        # A score is of degree 2 in the action, so 5 nodes per dimension integrate products exactly.
        nodes, weights = np.polynomial.hermite_e.hermegauss(5)
        weights = weights / weights.sum()
        for (z1, w1), (z2, w2) in product(zip(nodes, weights), repeat=2):
            noise = th.tensor([z1, z2], dtype=th.float32)
            yield (inner.loc + inner.scale * noise).detach(), th.full((len(OBS),), w1 * w2)
        return
    choices = {
        "categorical": [[a] for a in range(3)],
        "multicategorical": list(product(range(2), range(3))),
        "bernoulli": list(product((0.0, 1.0), repeat=2)),
    }[kind]
    for choice in choices:
        action = th.tensor(choice).repeat(len(OBS), 1)
        action = action.flatten() if kind == "categorical" else action
        yield action, distribution.log_prob(action).exp().detach()


def explicit_fisher(kind, policy, parameters):
    """Compute E_s Σ_a π(a|s) ∇log π ∇log πᵀ, one action and state at a time, in float64."""
    fisher = 0.0
    for action, probability in actions_and_probabilities(kind, policy.get_distribution(OBS)):
        log_prob = policy.get_distribution(OBS).log_prob(action)
        for s in range(len(OBS)):
            score = ng.flatten(th.autograd.grad(log_prob[s], parameters, retain_graph=True))
            score = score.double()
            fisher = fisher + probability[s].double() * th.outer(score, score) / len(OBS)
    return fisher


@pytest.mark.parametrize("kind", SPACES)
def test_the_product_is_that_of_the_explicit_fisher_matrix(kind):
    policy = make_policy(kind)
    parameters, _ = split_parameters(policy)
    fisher = explicit_fisher(kind, policy, parameters)
    multiply = ng.fisher_vector_product(policy.get_distribution(OBS), parameters)
    got = th.stack([multiply(row) for row in th.eye(len(fisher))]).double()
    assert th.linalg.norm(got - fisher) < 1e-4 * th.linalg.norm(fisher)
    assert th.linalg.eigvalsh(fisher).max() > 0.01


@pytest.mark.parametrize("kind", SPACES)
def test_the_product_is_that_of_the_kl_hessian(kind):
    policy = make_policy(kind)
    parameters, _ = split_parameters(policy)
    old = copy.copy(policy.get_distribution(OBS))
    multiply = ng.fisher_vector_product(old, parameters)
    with th.no_grad():
        fixed = copy.copy(policy.get_distribution(OBS))
    kl = ng.kl_divergence(fixed, policy.get_distribution(OBS)).mean()
    slope = ng.flatten(th.autograd.grad(kl, parameters, create_graph=True))
    assert slope.abs().max() < 1e-6
    v = th.randn(len(slope))
    hessian_v = ng.flatten(th.autograd.grad(slope @ v, parameters))
    assert th.allclose(multiply(v), hessian_v, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("share", [True, False])
def test_products_with_a_features_extractor_are_positive(share):
    images = spaces.Box(0, 255, (1, 36, 36), dtype=np.uint8)
    policy = ActorCriticCnnPolicy(
        images,
        spaces.Discrete(3),
        lambda _: 0,
        share_features_extractor=share,
        features_extractor_kwargs={"features_dim": 4},
    )
    parameters, _ = split_parameters(policy)
    obs = th.randint(0, 255, (5, 1, 36, 36), dtype=th.uint8)
    multiply = ng.fisher_vector_product(policy.get_distribution(obs), parameters)
    v = th.randn(sum(p.numel() for p in parameters))
    assert v @ multiply(v) > 0
    assert th.isfinite(multiply(v)).all()


def test_damping_adds_a_multiple_of_the_vector():
    policy = make_policy("multicategorical")
    parameters, _ = split_parameters(policy)
    distribution = policy.get_distribution(OBS)
    v = th.randn(sum(p.numel() for p in parameters))
    plain, damped = (ng.fisher_vector_product(distribution, parameters, d)(v) for d in (0.0, 0.5))
    assert th.allclose(damped, plain + 0.5 * v, atol=1e-6)


def test_kl_divergence_by_hand():
    one, other = make_policy("gaussian", log_std=0.0), make_policy("gaussian", log_std=1.0)
    p, q = one.get_distribution(OBS), other.get_distribution(OBS)
    e = np.e
    means = ((p.distribution.loc - q.distribution.loc) ** 2).sum(1)
    expected = 2 * (1 + 0.5 / e**2 - 0.5) + means / (2 * e**2)
    assert expected.shape == (len(OBS),)
    assert th.allclose(ng.kl_divergence(p, q), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", SPACES)
def test_the_kl_of_each_state_is_the_sum_over_all_actions(kind):
    """KL(old ‖ new) = Σ_a π_old(a|s) (log π_old(a|s) − log π_new(a|s)), at each s."""
    policy, moved = make_policy(kind), make_policy(kind)
    with th.no_grad():
        for parameter in moved.parameters():
            parameter.add_(0.1)
    old, new = policy.get_distribution(OBS), moved.get_distribution(OBS)
    expected = sum(
        probability * (old.log_prob(action) - new.log_prob(action)).detach()
        for action, probability in actions_and_probabilities(kind, old)
    )
    assert expected.std() > 1e-3
    assert th.allclose(ng.kl_divergence(old, new), expected, rtol=1e-3, atol=1e-6)


def test_an_unknown_distribution_is_named():
    odd = StateDependentNoiseDistribution(2)
    odd.distribution = th.distributions.Laplace(th.zeros(2), th.ones(2))
    message = "^the natural gradient supports Normal, Categorical and Bernoulli.*got Laplace"
    with pytest.raises(TypeError, match=message):
        ng.components(odd)


def test_kl_divergence_of_distributions_with_different_parts_is_refused():
    policies = [
        ActorCriticPolicy(spaces.Box(-1, 1, (3,)), spaces.MultiDiscrete(sizes), lambda _: 0)
        for sizes in ([2, 3], [2, 3, 2])
    ]
    with pytest.raises(ValueError, match="zip"):
        ng.kl_divergence(*(policy.get_distribution(OBS) for policy in policies))


def test_the_product_of_a_constant_distribution_is_its_damping():
    """No parameter at all, or a distribution that depends on none: F = 0."""
    policy = make_policy("gaussian")
    parameters, _ = split_parameters(policy)
    v = th.tensor([1.0, -2.0, 4.0])
    assert ng.fisher_vector_product(policy.get_distribution(OBS), [], 0.5)(v).tolist() == [
        0.5,
        -1,
        2,
    ]
    for parameter in parameters:
        parameter.requires_grad_(False)
    free = [th.nn.Parameter(th.zeros(3))]
    multiply = ng.fisher_vector_product(policy.get_distribution(OBS), free, 0.5)
    assert multiply(v).tolist() == [0.5, -1, 2]


def test_conjugate_gradient_solves_a_linear_system():
    generator = th.Generator().manual_seed(0)
    root = th.randn(20, 20, generator=generator, dtype=th.float64)
    matrix = root @ root.T + 0.5 * th.eye(20)
    b = th.randn(20, generator=generator, dtype=th.float64)
    solution = ng.conjugate_gradient(lambda v: matrix @ v, b, max_steps=100, tolerance=1e-10)
    assert th.allclose(matrix @ solution.x, b, atol=1e-7)
    assert solution.iterations < 100
    assert solution.residual < 1e-9
    assert solution.curvature == pytest.approx((solution.x @ matrix @ solution.x).item())


def test_conjugate_gradient_stops_after_max_steps_or_at_the_residual():
    matrix, b = th.diag(th.arange(1.0, 11.0)), th.ones(10)
    assert ng.conjugate_gradient(lambda v: matrix @ v, b, max_steps=3).iterations == 3
    assert ng.conjugate_gradient(lambda v: 2 * v, b, max_steps=50).iterations == 1


def test_conjugate_gradient_stopped_early_tells_its_residual_and_curvature():
    """One step on diag(1, 3) from b = (2, 2): x = b / 2, so that b - A x = (1, -1), xᵀ A x = 4."""
    matrix, b = th.diag(th.tensor([1.0, 3.0])), th.tensor([2.0, 2.0])
    solution = ng.conjugate_gradient(lambda v: matrix @ v, b, max_steps=1)
    assert solution.x.tolist() == pytest.approx([1, 1])
    assert solution.residual == pytest.approx(0.5)
    assert solution.curvature == pytest.approx(4)


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
@pytest.mark.parametrize(("tolerance", "iterations"), [(0.6, 1), (0.5, 1), (0.4, 2)])
def test_conjugate_gradient_stops_at_the_relative_residual(tolerance, iterations, scale):
    """As above: the residual of the first step is half of b, whatever the size of b."""
    matrix, b = th.diag(th.tensor([1.0, 3.0])), scale * th.tensor([2.0, 2.0])
    solution = ng.conjugate_gradient(lambda v: matrix @ v, b, 5, tolerance + 1e-6)
    assert solution.iterations == iterations


def test_conjugate_gradient_of_zero_is_zero():
    solution = ng.conjugate_gradient(lambda v: v, th.zeros(3), max_steps=5)
    assert solution.x.tolist() == [0, 0, 0]
    assert (solution.iterations, solution.residual, solution.curvature) == (0, 0.0, 0.0)


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf"), 0.0])
def test_conjugate_gradient_keeps_its_solution_where_curvature_is_not_positive(bad):
    """The first step has length 2/3, by hand; the second one would divide by the bad curvature."""
    products = iter([lambda v: th.tensor([1.0, 2.0]) * v, lambda v: bad * v])
    solution = ng.conjugate_gradient(lambda v: next(products)(v), th.ones(2), max_steps=5)
    assert solution.x.tolist() == pytest.approx([2 / 3, 2 / 3])
    assert solution.iterations == 1


def test_step_length_reaches_the_target_to_second_order():
    for curvature in (1e-6, 0.25, 4.0):
        length = ng.step_length(0.02, curvature)
        assert 0.5 * length**2 * curvature == pytest.approx(0.02)


@pytest.mark.parametrize("target_kl", [-0.01, float("nan"), float("inf")])
def test_a_step_has_a_target(target_kl):
    with pytest.raises(ValueError, match="target_kl must be a finite number of at least 0, got"):
        ng.step_length(target_kl, 1.0)


def test_step_length_is_zero_where_curvature_is_not_a_positive_number():
    assert [ng.step_length(0.02, c) for c in (0.0, -1.0, float("nan"), float("inf"))] == [0] * 4


def test_flatten_undoes_assign():
    policy = make_policy("gaussian")
    parameters, _ = split_parameters(policy)
    vector = th.randn(sum(p.numel() for p in parameters))
    ng.assign(parameters, vector)
    assert th.equal(ng.flatten(parameters), vector)
    assert th.equal(parameters_to_vector(parameters), vector)


def test_flatten_of_nothing_is_an_empty_vector():
    assert ng.flatten([]).shape == (0,)


def test_whole_numbers_have_no_solution():
    with pytest.raises(ValueError, match="floating-point numbers, got torch.int64"):
        ng.conjugate_gradient(lambda v: 2 * v, th.tensor([1, 2]), 5)
