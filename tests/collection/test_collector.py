import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_course.collection.collector import WholeEpisodes, collect
from sb3_course.collection.rollout import Rollout
from tests.worlds import CoinLengths, Scripted


def act(obs):
    first = next(iter(obs.values())) if isinstance(obs, dict) else obs
    actions = np.zeros(len(first), dtype=np.int64)
    return actions, actions


def gather(env, on_step=lambda step_locals: True, **budget) -> Rollout:
    rollout, _ = collect(env, env.reset(), act, WholeEpisodes(env.num_envs, **budget), on_step)
    return rollout


def scripted(*scripts):
    return DummyVecEnv([lambda s=s: Scripted(**s) for s in scripts])


def test_whole_episodes_by_hand():
    # Lengths 1 and 3, three vector steps in which to start: 1+1+1 and 3.
    rollout = gather(scripted({"rewards": (5.0,)}, {"rewards": (1.0, 2.0, 4.0)}), n_steps=3)
    assert rollout.mask.all()
    assert rollout.rewards.tolist() == [[5, 1], [5, 2], [5, 4]]
    assert rollout.trajectory.tolist() == [[0, 1], [2, 1], [3, 1]]
    assert rollout.time.tolist() == [[0, 0], [0, 1], [0, 2]]
    assert rollout.lengths.tolist() == [1, 3, 1, 1]


def test_what_was_started_is_finished_and_the_rest_is_masked():
    rollout = gather(scripted({"rewards": (5.0,)}, {"rewards": (1.0, 2.0, 4.0)}), n_steps=1)
    assert rollout.mask.tolist() == [[True, True], [False, True], [False, True]]
    assert rollout.n_transitions == 4
    assert rollout.n_trajectories == 2
    assert rollout.flat(rollout.rewards).tolist() == [5, 1, 2, 4]


@pytest.mark.parametrize("n_episodes", [1, 2, 3, 10])
def test_exactly_so_many_episodes(n_episodes):
    env = scripted({"rewards": (5.0,)}, {"rewards": (1.0, 2.0, 4.0)}, {"rewards": (1.0, 1.0)})
    rollout = gather(env, n_episodes=n_episodes)
    assert rollout.n_trajectories == n_episodes
    assert rollout.ends[rollout.mask].sum() == n_episodes


def test_at_least_min_episodes():
    assert gather(scripted({}), n_steps=1, min_episodes=2).n_trajectories == 2


def test_termination_truncation_and_next_obs():
    rollout = gather(scripted({"end": "terminated"}, {"end": "truncated"}), n_steps=1)
    assert rollout.terminated[-1].tolist() == [True, False]
    assert rollout.truncated[-1].tolist() == [False, True]
    assert rollout.obs[..., 0].tolist() == [[0, 0], [1, 1], [2, 2]]
    assert rollout.next_obs[..., 0].tolist() == [[1, 1], [2, 2], [3, 3]]
    assert rollout.last_obs[:, 0].tolist() == [0, 0]


def test_cut_values_asks_once_and_only_for_what_was_cut():
    calls = []

    def predict(obs):
        calls.append(obs[:, 0].tolist())
        return 10 * obs[:, 0]

    env = scripted({"end": "terminated"}, {"end": "truncated"}, {"end": "truncated"})
    values = gather(env, n_steps=1).cut_values(predict)
    assert calls == [[3.0, 3.0]]
    assert values.tolist() == [[0, 0, 0], [0, 0, 0], [0, 30, 30]]

    calls.clear()
    assert not gather(scripted({}), n_steps=1).cut_values(predict).any()
    assert calls == []


def test_terminal_observations_are_normalized_like_the_others():
    env = VecNormalize(scripted({"end": "truncated"}), training=False, norm_reward=False)
    env.obs_rms.mean, env.obs_rms.var = np.array([1.0]), np.array([4.0])
    rollout = gather(env, n_steps=1)
    assert rollout.next_obs.ravel() == pytest.approx([0.0, 0.5, 1.0], abs=1e-6)


@pytest.mark.parametrize("n_envs", [1, 7])
@pytest.mark.parametrize("budget", [{"n_steps": 20}, {"n_episodes": 9}])
def test_episode_lengths_are_unbiased(budget, n_envs):
    """
    Lengths 1 and 50 by a fair coin. Dropping the episodes that run when the budget is reached would
    give a mean near 10 with these budgets, cutting them near 15; the true one is 25.5.

    Batches are independent, so the ratio of sums has the standard error below. False alarms: 4
    cases at 4 standard errors, 3 in 10,000 if the seed were drawn anew.
    """
    env = CoinLengths(n_envs, long=50)
    lengths = [gather(env, **budget).lengths for _ in range(300)]
    total, count = np.array([len_.sum() for len_ in lengths]), np.array([len(x) for x in lengths])
    mean = total.sum() / count.sum()
    error = np.std(total - mean * count) / np.mean(count) / np.sqrt(len(lengths))
    assert error < 1.5
    assert abs(mean - 25.5) < 4 * error


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_reward_names_environment_and_step(bad):
    env = scripted({}, {"rewards": (1.0, bad, 1.0)})
    with pytest.raises(FloatingPointError, match="reward of environment 1 is .* at vector step 1"):
        gather(env, n_steps=5)


def test_non_finite_observation_names_environment_and_step():
    env = scripted({}, {"observations": [0.0, 1.0, np.nan, 0.0]})
    with pytest.raises(
        FloatingPointError, match="observation of environment 1 is nan at vector st"
    ):
        gather(env, n_steps=5)


def test_an_endless_episode_is_an_error(monkeypatch):
    monkeypatch.setattr("sb3_course.collection.collector.MAX_EPISODE_STEPS", 50)
    env = scripted({"rewards": (0.0,) * 1000})
    with pytest.raises(
        RuntimeError, match="environment 0 has not ended its episode within 55 step"
    ):
        gather(env, n_steps=5)


def test_a_callback_stops_it():
    env = scripted({})
    assert collect(env, env.reset(), act, WholeEpisodes(1, n_steps=5), lambda _: False) is None


def test_long_rollouts_grow():
    env = DummyVecEnv([lambda: gym.make("CartPole-v1")])
    rollout = gather(env, n_steps=3000)
    assert len(rollout.rewards) >= 3000
    assert rollout.rewards.sum() == rollout.lengths.sum()
    assert (rollout.next_obs[:-1][~rollout.ends[:-1]] == rollout.obs[1:][~rollout.ends[:-1]]).all()
