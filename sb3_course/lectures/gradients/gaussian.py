"""The gradient and the natural step of the lecture's linear Gaussian policy, exactly.

On :class:`~sb3_course.envs.lecture_worlds.LectureWorld` its parameters are θ = (k, log σ).
"""

import torch as th

from sb3_course import REINFORCE
from sb3_course.common.policy_gradient import PolicyGradientAlgorithm
from sb3_course.envs.lecture_worlds import LectureWorld
from sb3_course.estimators import natural_gradient
from sb3_course.lectures.toolkit import make


def exact_gradient(world: LectureWorld, theta: th.Tensor) -> tuple[float, th.Tensor]:
    """Compute the expected return J and its gradient in θ = (k, log σ).

    :param world: World
    :param theta: Parameters θ, of shape (2,)
    :return: J and its gradient, of shape (2,)
    """
    theta = theta.double().requires_grad_()
    objective = world.objective(theta[0], theta[1])
    (gradient,) = th.autograd.grad(objective, theta)
    return objective.item(), gradient


def policy_on(world: LectureWorld, theta: th.Tensor) -> PolicyGradientAlgorithm:
    """Make a model whose policy is N(k s, σ²): a linear layer whose bias stays 0.

    :param world: World
    :param theta: Parameters (k, log σ)
    :return: Model
    """
    return with_theta(make(REINFORCE, world, seed=0), theta)


def with_theta(model: PolicyGradientAlgorithm, theta: th.Tensor) -> PolicyGradientAlgorithm:
    """Set a linear Gaussian policy to θ = (k, log σ) and make everything else in it constant.

    :param model: Model on a one-dimensional world
    :param theta: Parameters θ, of shape (2,)
    :return: The same model
    """
    layer, log_std = model.policy.action_net, model.policy.log_std
    assert isinstance(layer, th.nn.Linear)
    weight = layer.weight
    assert isinstance(weight, th.nn.Parameter)
    assert isinstance(log_std, th.nn.Parameter)
    layer.bias.requires_grad_(False).zero_()
    model._attach_policy()
    model._actor_group = [weight, log_std]
    natural_gradient.assign(model.actor_parameters, theta.float())
    return model


def states_of(world: LectureWorld, theta: th.Tensor) -> th.Tensor:
    """Return states whose mean square at each step is E[s_t²], which determines the Fisher matrix.

    :param world: World
    :param theta: Parameters (k, log σ)
    :return: States, of shape (2 H, 1)
    """
    root = world.second_moments(theta[0], theta[1]).sqrt().float()[:, None]
    return th.cat([root, -root])


def fisher_of(
    model: PolicyGradientAlgorithm, world: LectureWorld, theta: th.Tensor
) -> natural_gradient.Product:
    """Return the Fisher product of the policy at θ, computed by the library's own function.

    :param model: Model of :func:`policy_on`
    :param world: World
    :param theta: Parameters (k, log σ)
    :return: Function v ↦ F v
    """
    natural_gradient.assign(model.actor_parameters, theta.float())
    distribution = model.distribution(states_of(world, theta))
    return natural_gradient.fisher_vector_product(distribution, model.actor_parameters)


def natural_step(
    model: PolicyGradientAlgorithm, world: LectureWorld, theta: th.Tensor, gradient: th.Tensor
) -> th.Tensor:
    """Solve F x = g by conjugate gradient, without damping.

    :param model: Model of :func:`policy_on`
    :param world: World
    :param theta: Parameters (k, log σ)
    :param gradient: Gradient g
    :return: Natural gradient x
    """
    product = fisher_of(model, world, theta)
    return natural_gradient.conjugate_gradient(product, gradient.float(), max_steps=2).x
