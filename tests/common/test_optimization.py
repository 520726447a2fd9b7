import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy

from sb3_course.common.networks.autograd import descend
from sb3_course.common.networks.critics import make_critic
from sb3_course.common.networks.parameter_groups import split_parameters
from sb3_course.common.optimization import fit_critic, minibatches


def test_fit_critic_fits_the_targets_and_leaves_the_actor_unchanged():
    th.manual_seed(0)
    policy = ActorCriticPolicy(spaces.Box(-1, 1, (2,)), spaces.Discrete(2), lambda _: 1e-3)
    actor, critic = split_parameters(policy)
    before = [p.clone() for p in actor]
    obs = th.rand(200, 2)
    targets = obs.sum(1) * 3
    v = make_critic(policy, critic, th.optim.Adam(critic, lr=1e-2))
    losses = [fit_critic(v, obs, targets, 50, 64) for _ in range(10)]
    assert losses[-1] < 0.01 * losses[0]
    assert all(th.equal(a, b) for a, b in zip(actor, before, strict=True))
    assert all(p.requires_grad and p.grad is None for p in actor)


def test_a_step_of_fit_critic_by_hand():
    policy = ActorCriticPolicy(
        spaces.Box(-1, 1, (1,)), spaces.Discrete(2), lambda _: 1e-3, net_arch=[]
    )
    _, critic = split_parameters(policy)
    with th.no_grad():
        policy.value_net.weight.fill_(2.0)
        policy.value_net.bias.fill_(1.0)
    obs, targets = th.tensor([[1.0], [3.0]]), th.tensor([0.0, 5.0])
    v = make_critic(policy, critic, th.optim.SGD(critic, lr=0.1))
    loss = fit_critic(v, obs, targets, n_updates=1)
    assert loss == pytest.approx((3**2 + 2**2) / 2)  # V = 3 and 7
    assert policy.value_net.weight.item() == pytest.approx(2 - 0.1 * (3 * 1 + 2 * 3))
    assert policy.value_net.bias.item() == pytest.approx(1 - 0.1 * (3 + 2))


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
