import numpy as np
import pytest

from sb3_course.collection.rollout import Rollout


def column_by_column(*columns, dtype=bool):
    """Make an array of shape (T, N) from the values of each environment."""
    return np.array(columns, dtype=dtype).T


def two_environments(dict_obs=False) -> Rollout:
    """Four steps of two environments.

    The first one terminates after two steps, then its next two steps do not count. The second one
    is truncated after one step, and its next episode runs past the batch's end. Observations are
    10 n + t, those after an episode's end 100 more.
    """
    obs = column_by_column([0, 1, 2, 3], [10, 11, 12, 13], dtype=np.float32)[..., None]
    last = np.array([[4.0], [14.0]], dtype=np.float32)
    terminal = {(1, 0): np.array([102.0]), (0, 1): np.array([111.0])}
    if dict_obs:
        terminal = {where: {"x": value, "y": -value} for where, value in terminal.items()}
    return Rollout(
        obs={"x": obs, "y": -obs} if dict_obs else obs,
        actions=column_by_column([0, 1, 0, 1], [1, 1, 0, 0], dtype=int),
        rewards=column_by_column([1, 2, 4, 8], [16, 32, 64, 128], dtype=np.float64),
        terminated=column_by_column([0, 1, 0, 0], [0, 0, 0, 0]),
        truncated=column_by_column([0, 0, 0, 0], [1, 0, 0, 0]),
        mask=column_by_column([1, 1, 0, 0], [1, 1, 1, 1]),
        last_obs={"x": last, "y": -last} if dict_obs else last,
        terminal_obs=terminal,
    )


def test_ends_are_terminations_and_truncations():
    expected = column_by_column([0, 1, 0, 0], [1, 0, 0, 0])
    assert (two_environments().ends == expected).all()


def test_the_bootstrap_mask_holds_time_limits_and_the_batchs_edge_but_no_masked_steps():
    expected = column_by_column([0, 0, 0, 0], [1, 0, 0, 1])
    assert (two_environments().bootstrap_mask == expected).all()


def test_trajectories_are_numbered_in_order_of_start():
    rollout = two_environments()
    expected = column_by_column([0, 0, -1, -1], [1, 2, 2, 2], dtype=int)
    assert (rollout.trajectory == expected).all()
    assert rollout.n_trajectories == 3
    assert rollout.lengths.tolist() == [2, 1, 3]


def test_time_counts_from_each_trajectorys_start():
    rollout = two_environments()
    assert rollout.flat(rollout.time).tolist() == [0, 0, 1, 0, 1, 2]


def test_flat_lines_up_the_counted_steps_and_spread_undoes_it():
    rollout = two_environments()
    assert rollout.n_transitions == 6
    assert rollout.flat(rollout.rewards).tolist() == [1, 16, 2, 32, 64, 128]
    spread = rollout.spread(rollout.flat(rollout.rewards))
    assert (spread == np.where(rollout.mask, rollout.rewards, 0)).all()


def test_flat_without_masked_steps_keeps_the_same_order():
    rollout = two_environments()
    full = Rollout(**{**vars(rollout), "mask": np.ones((4, 2), dtype=bool)})
    assert full.flat(full.rewards).tolist() == [1, 16, 2, 32, 4, 64, 8, 128]
    assert (full.spread(full.flat(full.rewards)) == full.rewards).all()


def test_flat_obs_are_the_counted_steps_of_arrays_and_dicts():
    expected = [[0], [10], [1], [11], [12], [13]]
    assert two_environments().flat_obs.tolist() == expected
    flat = two_environments(dict_obs=True).flat_obs
    assert flat["x"].tolist() == expected
    assert flat["y"].tolist() == [[-value] for (value,) in expected]


def test_next_obs_hold_the_last_observation_where_an_episode_ended():
    expected = column_by_column([1, 102, 3, 4], [111, 12, 13, 14], dtype=float)
    assert (two_environments().next_obs[..., 0] == expected).all()
    following = two_environments(dict_obs=True).next_obs
    assert (following["x"][..., 0] == expected).all()
    assert (following["y"][..., 0] == -expected).all()


def test_bootstrap_values_are_predicted_in_one_call_and_only_where_needed():
    calls = []

    def predict(obs):
        calls.append(obs.ravel().tolist())
        return 10 * obs[:, 0]

    values = two_environments().bootstrap_values(predict)
    assert calls == [[111, 14]]
    assert (values == column_by_column([0, 0, 0, 0], [1110, 0, 0, 140], dtype=float)).all()


def test_bootstrap_values_of_dict_observations():
    values = two_environments(dict_obs=True).bootstrap_values(
        lambda obs: (obs["x"] - obs["y"])[:, 0]
    )
    assert values[:, 1].tolist() == [222, 0, 0, 28]


def test_nothing_is_predicted_where_every_episode_ended():
    def predict(obs):
        raise AssertionError("no value is needed")

    rollout = two_environments()
    all_ended = Rollout(
        **{
            **vars(rollout),
            "terminated": np.ones((4, 2), dtype=bool),
            "truncated": np.zeros((4, 2), dtype=bool),
        }
    )
    assert (all_ended.bootstrap_values(predict) == np.zeros((4, 2))).all()


def test_a_rollout_is_frozen():
    with pytest.raises(AttributeError):
        two_environments().rewards = None
