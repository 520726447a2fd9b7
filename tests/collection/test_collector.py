import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnvWrapper, VecNormalize

from sb3_course.collection.collector import (
    FixedSteps,
    WholeEpisodes,
    check_finite,
    collect,
    truncations,
)
from sb3_course.collection.observations import rows_of
from sb3_course.collection.rollout import Rollout
from tests.worlds import CoinLengths, RandomSpaces, Scripted


def act(obs):
    actions = np.zeros(rows_of(obs), dtype=np.int64)
    return actions, actions


def proceed(step_locals):
    return True


def collect_whole_episodes(env, **budget) -> Rollout:
    rollout, _ = collect(env, env.reset(), act, WholeEpisodes(env.num_envs, **budget), proceed)
    return rollout


def scripted(*scripts):
    """Make scripted environments, one for each dict of arguments."""
    return DummyVecEnv([lambda s=s: Scripted(**s) for s in scripts])


def test_whole_episodes_by_hand():
    # Lengths 1 and 3, three vector steps in which to start: 1+1+1 and 3.
    rollout = collect_whole_episodes(
        scripted({"rewards": (5.0,)}, {"rewards": (1.0, 2.0, 4.0)}), n_steps=3
    )
    assert rollout.mask.all()
    assert rollout.rewards.tolist() == [[5, 1], [5, 2], [5, 4]]
    assert rollout.trajectory.tolist() == [[0, 1], [2, 1], [3, 1]]
    assert rollout.time.tolist() == [[0, 0], [0, 1], [0, 2]]
    assert rollout.lengths.tolist() == [1, 3, 1, 1]


def test_started_episodes_are_finished_and_other_steps_are_masked():
    rollout = collect_whole_episodes(
        scripted({"rewards": (5.0,)}, {"rewards": (1.0, 2.0, 4.0)}), n_steps=1
    )
    assert rollout.mask.tolist() == [[True, True], [False, True], [False, True]]
    assert rollout.n_transitions == 4
    assert rollout.n_trajectories == 2
    assert rollout.flat(rollout.rewards).tolist() == [5, 1, 2, 4]


@pytest.mark.parametrize("n_episodes", [1, 2, 3, 10])
def test_exactly_the_given_number_of_episodes_is_collected(n_episodes):
    env = scripted({"rewards": (5.0,)}, {"rewards": (1.0, 2.0, 4.0)}, {"rewards": (1.0, 1.0)})
    rollout = collect_whole_episodes(env, n_episodes=n_episodes)
    assert rollout.n_trajectories == n_episodes
    assert rollout.ends[rollout.mask].sum() == n_episodes


def test_episodes_are_started_until_there_are_min_episodes():
    assert collect_whole_episodes(scripted({}), n_steps=1, min_episodes=2).n_trajectories == 2


def test_terminations_and_truncations_are_kept_apart():
    rollout = collect_whole_episodes(
        scripted({"end": "terminated"}, {"end": "truncated"}), n_steps=1
    )
    assert rollout.terminated[-1].tolist() == [True, False]
    assert rollout.truncated[-1].tolist() == [False, True]
    assert rollout.obs[..., 0].tolist() == [[0, 0], [1, 1], [2, 2]]
    assert rollout.next_obs[..., 0].tolist() == [[1, 1], [2, 2], [3, 3]]
    assert rollout.last_obs[:, 0].tolist() == [0, 0]


def test_terminal_observations_are_normalized_as_the_others_are():
    env = VecNormalize(scripted({"end": "truncated"}), training=False, norm_reward=False)
    env.obs_rms.mean, env.obs_rms.var = np.array([1.0]), np.array([4.0])
    rollout = collect_whole_episodes(env, n_steps=1)
    assert rollout.next_obs.ravel() == pytest.approx([0.0, 0.5, 1.0], abs=1e-6)


@pytest.mark.parametrize("n_envs", [1, 7])
@pytest.mark.parametrize("budget", [{"n_steps": 20}, {"n_episodes": 9}])
def test_episode_lengths_are_unbiased(budget, n_envs):
    """
    Lengths 1 and 50 with probability one half each. If the episodes that run when the budget is
    reached were dropped, these budgets would make the mean about 10, if they were cut about 15;
    the true mean is 25.5.

    Batches are independent, so the ratio of sums has the standard error below. At 4 standard
    errors, one of the 4 cases would fail for 3 in 10,000 seeds; the seed is fixed.
    """
    env = CoinLengths(n_envs, long=50)
    lengths = [collect_whole_episodes(env, **budget).lengths for _ in range(300)]
    total, count = np.array([len_.sum() for len_ in lengths]), np.array([len(x) for x in lengths])
    mean = total.sum() / count.sum()
    error = np.std(total - mean * count) / np.mean(count) / np.sqrt(len(lengths))
    assert error < 1.5
    assert abs(mean - 25.5) < 4 * error


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_reward_that_is_not_finite_is_located(bad):
    env = scripted({}, {"rewards": (1.0, bad, 1.0)})
    with pytest.raises(FloatingPointError, match="reward of environment 1 is .* at vector step 1"):
        collect_whole_episodes(env, n_steps=5)


def test_an_observation_that_is_not_finite_is_located():
    env = scripted({}, {"observations": [0.0, 1.0, np.nan, 0.0]})
    with pytest.raises(
        FloatingPointError, match="observation of environment 1 is nan at vector st"
    ):
        collect_whole_episodes(env, n_steps=5)


@pytest.mark.parametrize("bad", [np.nan, None])
def test_a_terminal_state_may_be_of_any_kind(bad):
    """Its value is 0, and no policy sees it; where a time limit ended the episode, it does."""

    class Diverging(VecEnvWrapper):
        def reset(self):
            return self.venv.reset()

        def step_wait(self):
            obs, rewards, dones, infos = self.venv.step_wait()
            for info in infos:
                if "terminal_observation" in info:
                    last = None if bad is None else np.full(1, bad, np.float32)
                    info["terminal_observation"] = last
            return obs, rewards, dones, infos

    rollout = collect_whole_episodes(Diverging(scripted({"end": "terminated"})), n_steps=1)
    assert rollout.terminated[-1].all() and np.isfinite(rollout.next_obs).all()
    with pytest.raises((FloatingPointError, KeyError), match=r"last observation|has no 'terminal"):
        collect_whole_episodes(Diverging(scripted({"end": "truncated"})), n_steps=1)


def test_an_episode_without_end_is_an_error(monkeypatch):
    monkeypatch.setattr("sb3_course.collection.collector.MAX_EPISODE_STEPS", 50)
    env = scripted({"rewards": (0.0,) * 1000})
    with pytest.raises(
        RuntimeError, match="environment 0 has not ended its episode within 50 step"
    ):
        collect_whole_episodes(env, n_steps=5)


@pytest.mark.parametrize("budget", [{"n_steps": 120}, {"n_episodes": 40}])
def test_many_episodes_may_take_longer_than_one(budget, monkeypatch):
    monkeypatch.setattr("sb3_course.collection.collector.MAX_EPISODE_STEPS", 50)
    env = scripted({"rewards": (1.0,) * 4}, {"rewards": (1.0,) * 30})
    rollout = collect_whole_episodes(env, **budget)
    assert len(rollout.mask) > 100 and rollout.n_trajectories >= 30


@pytest.mark.parametrize(("length", "warned"), [(50, False), (51, True), (60, True)])
def test_a_batch_of_ten_times_the_steps_is_told(length, warned, monkeypatch):
    monkeypatch.setattr("sb3_course.collection.collector.LONG_EPISODE_STEPS", 20)
    env = scripted({"rewards": (0.0,) * length})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        collect_whole_episodes(env, n_steps=5)
    told = [str(w.message) for w in caught if "TimeLimit" in str(w.message)]
    assert len(told) == warned
    assert all("n_steps=5 has taken 50 steps: an episode" in text for text in told)


def test_episodes_of_a_usual_length_are_no_reason_to_warn():
    """Of many environments, each has few steps of a batch."""
    env = scripted({"rewards": (0.0,) * 1000})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        collect_whole_episodes(env, n_steps=1)


def test_a_number_of_episodes_may_take_any_number_of_steps():
    env = scripted({"rewards": (0.0,) * 60})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        collect_whole_episodes(env, n_episodes=3)


def test_a_callback_stops_the_collection():
    env = scripted({})
    assert collect(env, env.reset(), act, WholeEpisodes(1, n_steps=5), lambda _: False) is None


def test_rollouts_grow_beyond_their_first_allocation():
    env = DummyVecEnv([lambda: gym.make("CartPole-v1")])
    rollout = collect_whole_episodes(env, n_steps=3000)
    assert len(rollout.rewards) >= 3000
    assert rollout.rewards.sum() == rollout.lengths.sum()
    assert (rollout.next_obs[:-1][~rollout.ends[:-1]] == rollout.obs[1:][~rollout.ends[:-1]]).all()


# -- what a batch stores -------------------------------------------------------------------------


def test_a_fixed_number_of_steps_ignores_where_episodes_end():
    env = scripted({"rewards": (5.0,)}, {"rewards": (1.0, 2.0, 4.0)})
    rollout, dones = collect(env, env.reset(), act, FixedSteps(2, n_steps=4), proceed)
    assert rollout.mask.all() and rollout.mask.shape == (4, 2)
    assert rollout.rewards.tolist() == [[5, 1], [5, 2], [5, 4], [5, 1]]
    assert rollout.last_obs[:, 0].tolist() == [0, 1]
    assert dones.tolist() == [True, False]


def test_floats_are_stored_in_single_precision_and_rewards_in_double():
    space = spaces.Dict(
        {"wide": spaces.Box(-1, 1, (3,), dtype=np.float64), "choice": spaces.Discrete(4)}
    )
    env = DummyVecEnv([lambda: RandomSpaces(space, spaces.Discrete(2))] * 2)
    seen = []

    def watch(obs):
        seen.append({key: value.copy() for key, value in obs.items()})
        return act(obs)

    env.seed(0)
    rollout, _ = collect(env, env.reset(), watch, FixedSteps(2, n_steps=5), proceed)
    assert rollout.rewards.dtype == np.float64
    assert rollout.obs["wide"].dtype == np.float32 and rollout.obs["choice"].dtype == np.int64
    for key, values in rollout.obs.items():
        assert values.shape == (5, 2, *space[key].shape)
        assert np.array_equal(values, np.stack([obs[key] for obs in seen]))


def test_actions_are_stored_as_sampled_and_sent_as_given():
    class Watched(Scripted):
        def step(self, action):
            sent.append(float(action[0]))
            return super().step(action)

    sent, box = [], spaces.Box(-1, 1, (1,))
    env = DummyVecEnv([lambda: Watched(space=box)])
    sampled = np.array([[7.0]])
    rollout, _ = collect(
        env, env.reset(), lambda obs: (sampled, sampled.clip(-1, 1)), FixedSteps(1, 2), proceed
    )
    assert rollout.actions.ravel().tolist() == [7, 7]
    assert sent == [1, 1]


def test_callbacks_see_each_steps_variables():
    steps = []
    env = scripted({"rewards": (5.0,)}, {"rewards": (1.0, 2.0)})

    def watch(step_locals):
        steps.append(step_locals)
        return True

    collect(env, env.reset(), act, WholeEpisodes(2, n_episodes=2), watch)
    assert [s["n_steps"] for s in steps] == [1, 2]
    assert [s["running"].tolist() for s in steps] == [[True, True], [False, True]]
    assert [s["dones"].tolist() for s in steps] == [[True, False], [True, True]]
    assert [s["rewards"].tolist() for s in steps] == [[5, 1], [5, 2]]
    assert [s["new_obs"].ravel().tolist() for s in steps] == [[0, 1], [0, 0]]


# -- checks --------------------------------------------------------------------------------------


def test_truncations_are_ends_by_a_time_limit_alone():
    cut = {"TimeLimit.truncated": True, "terminal_observation": np.zeros(1)}
    infos = [cut, {"TimeLimit.truncated": False}, {}]
    assert truncations(np.array([True, True, True]), infos).tolist() == [True, False, False]
    assert truncations(np.array([False, True, True]), infos).tolist() == [False, False, False]


def test_a_value_of_a_dict_that_is_not_finite_is_located():
    values = {"a": np.zeros((2, 3)), "b": np.array([0.0, np.nan])}
    with pytest.raises(
        FloatingPointError, match="observation 'b' of environment 1 is nan at vector step 7"
    ):
        check_finite("observation", values, step=7)
    check_finite("observation", {"a": values["a"], "c": np.array([1, 2])}, step=7)
