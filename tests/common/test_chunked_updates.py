"""Every step gives the same numbers chunk by chunk as at once, in less memory."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch as th
from gymnasium import spaces

from sb3_course import ISPG, NPG, REINFORCE, BatchActorCritic
from sb3_course.estimators import trajectory_gradients
from tests.contract.helpers import any_env, every_variant, small_model

ROOT = Path(__file__).resolve().parents[2]
IMAGES = spaces.Box(0, 255, (36, 36, 1), dtype=np.uint8)
DICT = spaces.Dict({"image": IMAGES, "box": spaces.Box(-1, 1, (3,)), "bit": spaces.Discrete(2)})
POLICIES = {
    "mlp": ("MlpPolicy", spaces.Box(-1, 1, (3,)), {}),
    "cnn": ("CnnPolicy", IMAGES, {"features_extractor_kwargs": {"features_dim": 8}}),
    "dict": ("MultiInputPolicy", DICT, {}),
}
SETTINGS = {"net_arch": [8], "optimizer_class": th.optim.SGD}
every_policy = pytest.mark.parametrize("policy", POLICIES)


def model_with_batch(algorithm, policy, **kwargs):
    name, space, policy_kwargs = POLICIES[policy]
    model = small_model(
        algorithm, any_env(space), name, policy_kwargs=SETTINGS | policy_kwargs, **kwargs
    )
    _, callback = model._setup_learn(10**6)
    model.collect_rollouts(model.env, callback)
    return model


def close(one, other, tolerance=1e-5):
    return th.linalg.norm(one - other) <= tolerance * th.linalg.norm(other)


def flat(parameters):
    return th.cat([p.detach().flatten() for p in parameters])


@every_policy
@pytest.mark.parametrize("ent_coef", [0.0, 0.1])
def test_the_policy_gradient_and_what_is_logged(policy, ent_coef):
    model = model_with_batch(BatchActorCritic, policy, ent_coef=ent_coef)
    obs, actions = model.tensors(model.rollout)
    multipliers = th.randn(len(actions))
    whole = model.policy_gradient(obs, actions, multipliers)
    model.chunk_size = 5
    chunked = model.policy_gradient(obs, actions, multipliers)
    assert whole.gradient.abs().max() > 0
    assert all(close(c, w) for c, w in zip(chunked, whole, strict=True))
    assert close(model.log_probs(obs, actions), model.evaluate_actions(obs, actions)[0])


@every_policy
def test_fisher_vector_products_and_the_kl(policy):
    model = model_with_batch(NPG, policy, line_search=True)
    obs, actions = model.tensors(model.rollout)
    v, advantages = th.randn(len(flat(model.actor_parameters))), th.randn(len(actions))
    before, found = flat(model.actor_parameters), {}
    for size in (1000, 5):
        model.chunk_size = size
        old = model.distributions(obs)
        assert len(old) == (1 if size == 1000 else 7)
        product = model.fisher_vector_product(obs, old)(v)
        with th.no_grad():
            th.nn.utils.vector_to_parameters(before + 0.5 * v, model.actor_parameters)
        found[size] = product, *model.consequences(obs, actions, advantages, old)
        th.nn.utils.vector_to_parameters(before.clone(), model.actor_parameters)
    assert close(found[5][0], found[1000][0])
    assert found[5][1:] == pytest.approx(found[1000][1:], rel=1e-4)
    assert found[5][1] > 1e-2


@every_policy
@pytest.mark.parametrize("batch_size", [None, 12])
def test_the_critics_fit(policy, batch_size):
    steps = []
    for size in (1000, 5):
        model = model_with_batch(BatchActorCritic, policy, batch_size=batch_size)
        model.chunk_size = size
        before = flat(model.critic_parameters)
        th.manual_seed(1)
        targets = th.randn(len(model.rollout.rewards.ravel()))
        model.fit_critic(model.tensors(model.rollout)[0], targets)
        steps.append(flat(model.critic_parameters) - before)
    assert close(steps[1], steps[0], 1e-4) and steps[0].abs().max() > 0


@every_policy
def test_the_gradients_of_trajectories(policy):
    model = model_with_batch(REINFORCE, policy, baseline="mean")
    multipliers = th.randn(model.rollout.n_transitions, 2)
    whole = th.stack(model.trajectory_gradients(model.rollout, multipliers))
    model.chunk_size = 3  # shorter than a trajectory
    assert max(model.rollout.lengths) > 3
    assert close(th.stack(model.trajectory_gradients(model.rollout, multipliers)), whole)


@pytest.mark.parametrize("algorithm", [REINFORCE, ISPG])
def test_the_optimal_baseline_of_blocks_of_trajectories(algorithm, monkeypatch):
    """Gradients that are not kept are computed twice, one trajectory at a time."""
    model = model_with_batch(algorithm, "mlp", baseline="optimal", n_episodes=6, n_steps=None)
    weights, advantages = th.rand(2, model.rollout.n_transitions).unbind()
    whole = model.optimal_baseline_moments(model.rollout, weights, advantages)
    monkeypatch.setattr(trajectory_gradients, "chunk_bytes", lambda device: 1)
    blocks = model._gradient_blocks(model.rollout, advantages[:, None])
    assert [len(which) for which, _ in blocks] == [1] * 6
    parts = model.optimal_baseline_moments(model.rollout, weights, advantages)
    assert close(parts.total, whole.total)
    assert parts.covariance_trace() == pytest.approx(whole.covariance_trace(), rel=1e-5)


@every_variant
def test_a_whole_update(algorithm, kwargs):
    results = []
    for size in (10**6, 7):
        model = small_model(
            algorithm,
            any_env(),
            policy_kwargs={"optimizer_class": th.optim.SGD},
            **{"max_grad_norm": 0.5} if algorithm is not NPG else {},
            **kwargs,
        )
        model.chunk_size = size
        model.learn(32)
        results.append(flat(model.policy.parameters()))
    assert close(results[1], results[0], 1e-4)


MEMORY = """
import sys
from pathlib import Path
import numpy as np, torch as th
from gymnasium import spaces
import sb3_course
from tests.contract.helpers import any_env
th.set_num_threads(1)
space = spaces.Box(0, 255, (84, 84, 4), dtype=np.uint8)
model = sb3_course.BatchActorCritic("CnnPolicy", any_env(space, n_envs=1), n_steps=32,
                                    n_critic_updates=1, seed=0, device="cpu").learn(1)
status = lambda key: int(Path("/proc/self/status").read_text().split(key)[1].split()[0]) / 1024
for n_steps in (100, 484):
    model.n_steps = n_steps
    model.collect_rollouts(model.env, model._setup_learn(10**6)[1])
    before = status("VmRSS:")
    Path("/proc/self/clear_refs").write_text("5")
    model.train()
    print(status("VmHWM:") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it reads Linux's account of the memory")
def test_memory_does_not_grow_with_the_batch():
    """384 images of 84 x 84 x 4 more, whose graphs keep 77 MB, take less than 30 MB more."""
    env = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}  # what is free is given back at once
    command = [sys.executable, "-c", MEMORY]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=env, cwd=ROOT)
    few, many = map(float, run.stdout.split())
    assert few > 10
    assert many < few + 30, f"{few} MB, then {many} MB"


@pytest.mark.parametrize("size", [0, -1, 1.5, None])
def test_a_chunk_of_no_size_is_refused_before_anything_is_collected(size):
    model = REINFORCE("MlpPolicy", "CartPole-v1", n_episodes=2)
    model.chunk_size = size
    with pytest.raises(ValueError, match="chunk_size must be a whole number of at least 1"):
        model.learn(10)
    assert model.num_timesteps == 0
