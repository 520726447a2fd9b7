import numpy as np
import pytest
import torch as th

from sb3_course.envs.lecture_worlds import LectureWorld, Tightrope


def test_tightrope_costs_what_the_analysis_says():
    """An imitator that errs with ε on the rope and always off it: Σ_t (1 - (1 - ε)^t)."""
    horizon, epsilon = 30, 0.02
    world = Tightrope(1, horizon)
    expert = np.eye(world.n_actions)[world.expert]
    assert world.objective(expert) == 0.0
    wrong = np.roll(expert, 1, axis=1)
    imitator = (1 - epsilon) * expert + epsilon * wrong
    imitator[horizon] = wrong[horizon]
    cost = sum(1 - (1 - epsilon) ** t for t in range(1, horizon + 1))
    assert -world.objective(imitator) == pytest.approx(cost)
    imitator[horizon] = imitator[0]
    assert -world.objective(np.roll(expert, 1, axis=1)) == horizon


def test_lecture_world_moments_and_return_are_those_of_its_episodes():
    """100,000 episodes: at 4 standard errors a fresh seed would fail once in 2,000 times."""
    k, log_std = th.tensor(-0.4, dtype=th.float64), th.tensor(-0.7, dtype=th.float64)
    world = LectureWorld(100_000, horizon=5)
    generator = np.random.default_rng(1)
    state, total, squares = world.reset()[:, 0].astype(float), np.zeros(100_000), []
    for _ in range(world.horizon):
        squares.append(np.mean(state**2))
        action = k.item() * state + np.exp(log_std.item()) * generator.normal(size=len(state))
        world.step_async(action[:, None])
        obs, rewards, _, infos = world.step_wait()
        total += rewards
        ended = "terminal_observation" in infos[0]
        state = obs[:, 0].astype(float)
    assert ended
    assert squares == pytest.approx(world.second_moments(k, log_std).tolist(), rel=0.03)
    error = total.std() / np.sqrt(len(total))
    assert abs(total.mean() - world.objective(k, log_std).item()) < 4 * error
