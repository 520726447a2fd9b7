"""A model on a GPU computes what it computes on the CPU, and its files know no device.

Nothing of this runs where there is no GPU; on a machine with one, the whole suite trains on it
wherever a test leaves ``device`` at its default.
"""

import warnings

import numpy as np
import pytest
import torch as th
from gymnasium import spaces

import sb3_course
from sb3_course import BC, DAgger, make_vec_env
from sb3_course.common.evaluation import undisturbed
from tests.contract.helpers import (
    CLASSES,
    VARIANTS,
    any_env,
    copy_parameters,
    equal_tensors,
    every_variant,
    small_model,
)
from tests.contract.test_resuming import environments, steps_of

GPU = "cuda"

if not th.cuda.is_available():
    pytest.skip("this machine has no GPU", allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to run .* on the GPU")

every_kind = pytest.mark.parametrize("kind", ["CartPole-v1", "Pendulum-v1 normalized"])


def model_in(kind, algorithm, kwargs, device):
    return small_model(algorithm, environments(kind), device=device, **kwargs)


def actor(model):
    return th.nn.utils.parameters_to_vector(model.actor_parameters).detach().cpu()


@every_kind
@pytest.mark.parametrize(
    ("algorithm", "kwargs"),
    [
        (algorithm, kwargs)
        for algorithm, kwargs in VARIANTS  # but for those that draw random numbers in an update
        if algorithm is not sb3_course.OnlineActorCritic and "sub_sampling_factor" not in kwargs
    ],
)
def test_an_update_is_the_one_of_the_cpu(algorithm, kwargs, kind, tmp_path):
    """One batch that was gathered on the CPU moves the policy of both by the same step."""
    cpu = model_in(kind, algorithm, kwargs, "cpu")
    cpu.learn(64)
    path = tmp_path / "model.zip"
    cpu.save(path)
    gpu = algorithm.load(path, env=environments(kind), device=GPU)
    before = actor(cpu)
    assert th.equal(before, actor(gpu)) and next(gpu.policy.parameters()).is_cuda

    train = type(cpu).train
    taken = {}

    def train_both(model):
        gpu.rollout = model.rollout
        if algorithm is sb3_course.ISPG:
            gpu._set_training_memory(model._training_memory())
        gpu._setup_learn(1000)
        gpu._current_progress_remaining = model._current_progress_remaining
        train(gpu)
        train(model)
        taken.setdefault("both", (actor(gpu) - before, actor(model) - before))

    cpu.train = lambda: train_both(cpu)
    cpu.learn(1, reset_num_timesteps=False)
    on_gpu, on_cpu = taken["both"]
    assert on_cpu.norm() > 0
    assert (on_gpu - on_cpu).norm() <= 0.01 * on_cpu.norm()


@every_kind
@every_variant
def test_a_training_on_a_gpu_goes_on_bit_for_bit(algorithm, kwargs, kind, tmp_path):
    steps = steps_of(algorithm)
    model = model_in(kind, algorithm, kwargs, GPU).learn(steps)
    path = tmp_path / "model.zip"
    model.save(path)
    expected = copy_parameters(model.learn(steps, reset_num_timesteps=False))
    th.manual_seed(99)
    resumed = algorithm.load(path, env=environments(kind, seed=77), device=GPU)
    resumed.learn(steps, reset_num_timesteps=False)
    assert equal_tensors(expected, copy_parameters(resumed))


@every_kind
@pytest.mark.parametrize("algorithm", [c for c in CLASSES if not issubclass(c, BC)])
def test_a_file_moves_between_devices(algorithm, kind, tmp_path):
    origin, target = GPU, "cpu"
    model = model_in(kind, algorithm, {}, origin).learn(64)
    obs = model.env.reset()
    for _ in range(2):
        path = tmp_path / f"{target}.zip"
        model.save(path)
        moved = sb3_course.load(path, env=environments(kind), device=target)
        assert next(moved.policy.parameters()).device.type == target
        expected, _ = model.predict(obs, deterministic=True)
        np.testing.assert_allclose(moved.predict(obs, deterministic=True)[0], expected, rtol=1e-3)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            warnings.filterwarnings("ignore", "You are trying to run")
            moved.learn(64, reset_num_timesteps=False)
        assert moved.num_timesteps >= 128
        model, origin, target = moved, target, origin


def test_imitation_on_a_gpu(tmp_path):
    env = make_vec_env("CartPole-v1", 2, seed=0)
    expert = sb3_course.NPG("MlpPolicy", env, seed=0, device=GPU).learn(2_000)
    model = DAgger("MlpPolicy", env, expert=expert, n_steps=64, seed=0, device=GPU)
    model.learn(256)
    model.save(tmp_path / "dagger.zip")
    moved = DAgger.load(tmp_path / "dagger.zip", env=env, expert=expert, device="cpu")
    obs = env.reset()
    expected, _ = model.predict(obs, deterministic=True)
    assert (moved.predict(obs, deterministic=True)[0] == expected).all()
    reinforced = sb3_course.NPG.from_imitation(moved, env, n_steps=16, device=GPU).learn(64)
    assert next(reinforced.policy.parameters()).is_cuda


@pytest.mark.parametrize("actions", [spaces.Discrete(3), spaces.Box(-1, 1, (2,))])
@every_variant
def test_images(algorithm, kwargs, actions):
    env = any_env(spaces.Box(0, 255, (36, 36, 1), np.uint8), actions)
    model = small_model(algorithm, env, "CnnPolicy", device=GPU, **kwargs)
    before = copy_parameters(model)
    model.learn(96)
    after = copy_parameters(model)
    assert all(value.is_cuda and value.isfinite().all() for value in after.values())
    assert not equal_tensors(before, after)


def test_random_states_are_restored_after_an_evaluation():
    model = small_model(sb3_course.NPG, "CartPole-v1", device=GPU)
    states = th.get_rng_state(), th.cuda.get_rng_state()
    with undisturbed(model):
        model.predict(model.env.reset(), deterministic=False)
        th.rand(1), th.rand(1, device=GPU)
    assert th.equal(states[0], th.get_rng_state()) and th.equal(states[1], th.cuda.get_rng_state())


def test_a_chunk_is_larger_than_on_the_cpu():
    env = any_env(spaces.Box(0, 255, (84, 84, 4), np.uint8))
    sizes = [
        small_model(sb3_course.NPG, env, "CnnPolicy", device=name).chunk_size
        for name in ("cpu", GPU)
    ]
    assert sizes[0] < 100 < 500 < sizes[1]
