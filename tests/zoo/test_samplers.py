"""Search spaces: every sample makes a model, and a stored trial makes the same."""

import pytest
from torch import nn

from sb3_course.registry import find_algorithm, hyper_parameters
from sb3_course.zoo import NAMES
from sb3_course.zoo.samplers import SAMPLERS, converted

optuna = pytest.importorskip("optuna")


def trials(n):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [study.ask() for _ in range(n)]


@pytest.mark.parametrize("name", NAMES)
def test_constructors_take_what_is_sampled(name):
    algorithm = find_algorithm(NAMES[name])
    for trial in trials(5):
        sampled = SAMPLERS[name](trial, 1, 2, {})
        assert sampled.keys() <= hyper_parameters(algorithm).keys()
        model = algorithm("MlpPolicy", "CartPole-v1", device="cpu", **sampled)
        assert model.gamma == 1.0 - trial.params["one_minus_gamma"]
        assert isinstance(model.policy.mlp_extractor.policy_net[1], (nn.Tanh, nn.ReLU))


@pytest.mark.parametrize("name", NAMES)
def test_a_stored_trial_is_converted_to_what_was_sampled(name):
    for trial in trials(3):
        assert SAMPLERS[name](trial, 1, 2, {}) == converted(trial.params)


def test_conversion():
    sampled = {
        "one_minus_gamma": 0.01,
        "n_steps_pow": 5,
        "net_arch": "tiny",
        "activation_fn": "relu",
        "target_kl": 0.02,
    }
    assert converted(sampled) == {
        "policy_kwargs": {"net_arch": {"pi": [16], "vf": [16]}, "activation_fn": nn.ReLU},
        "gamma": 0.99,
        "n_steps": 32,
        "target_kl": 0.02,
    }
