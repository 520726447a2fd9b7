import pytest
import torch as th

from sb3_course.common.networks.autograd import descend
from sb3_course.common.optimization import minibatches


def test_minibatches_use_every_transition_before_they_use_one_twice():
    cpu = th.device("cpu")
    batches = list(minibatches(12, 6, 4, cpu))
    for epoch in (batches[:3], batches[3:]):
        assert sorted(th.cat(epoch).tolist()) == list(range(12))
    assert list(minibatches(12, 2, None, cpu)) == [slice(None)] * 2
    assert list(minibatches(12, 2, 12, cpu)) == [slice(None)] * 2


def test_a_gradient_without_memory_of_its_own_is_read_correctly():
    """A sum's gradient is one number with stride 0; a fused Adam would read beyond it."""
    parameter = th.nn.Parameter(th.zeros(1000))
    optimizer = th.optim.Adam([parameter], lr=0.5, fused=True)
    descend([parameter.sum()], [parameter], optimizer)
    assert th.allclose(parameter, th.full((1000,), -0.5))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_refused_before_the_step(bad):
    parameter = th.nn.Parameter(th.ones(3))
    optimizer = th.optim.SGD([parameter], lr=1.0)
    with pytest.raises(FloatingPointError, match="a loss is (nan|inf)"):
        descend([bad * parameter.sum()], [parameter], optimizer)
    assert parameter.tolist() == [1, 1, 1]


def test_minibatches_are_shuffled_by_torchs_seed():
    def draw(seed):
        th.manual_seed(seed)
        return th.stack(list(minibatches(12, 6, 4, th.device("cpu")))).tolist()

    assert draw(1) == draw(1) != draw(2)
