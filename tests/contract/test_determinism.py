"""The seed decides everything, and models share no state."""

import copy

from tests.contract.helpers import (
    copy_parameters,
    equal_tensors,
    every_class,
    every_variant,
    small_model,
)


@every_variant
def test_the_same_seed_gives_the_same_parameters_bit_for_bit(algorithm, kwargs):
    def train(seed):
        return copy_parameters(
            small_model(algorithm, "CartPole-v1", **kwargs | {"seed": seed}).learn(300)
        )

    first = train(seed=0)
    assert equal_tensors(first, train(seed=0))
    assert not equal_tensors(first, train(seed=1))


@every_class
def test_a_deep_copy_learns_without_changing_the_original(algorithm):
    model = small_model(algorithm, "CartPole-v1")
    clone = copy.deepcopy(model)
    before = copy_parameters(model)
    clone.learn(100)
    assert equal_tensors(before, copy_parameters(model))
    assert not equal_tensors(before, copy_parameters(clone))
