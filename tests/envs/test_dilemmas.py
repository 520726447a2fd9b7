import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from sb3_course.envs.dilemmas import DELAY, KINDS, N_ACTIONS, STEPS, WAITING, Dilemmas


def play(kind, right):
    """Rewards of an episode at a place of a kind, with right or wrong actions throughout."""
    env = Dilemmas()
    env.reset(seed=0)
    env.place = KINDS.index(kind)
    action = (env.place + (not right)) % N_ACTIONS
    rewards, over = [], False
    while not over:
        _, reward, over, cut, _ = env.step(action)
        assert not cut
        rewards.append(reward)
    return np.array(rewards)


@pytest.mark.parametrize("kind", dict.fromkeys(KINDS))
def test_the_right_action_has_the_highest_discounted_return_and_11_in_all(kind):
    right, wrong = (play(kind, which) for which in (True, False))
    assert right.sum() == pytest.approx(11.0)
    discounted = [rewards @ 0.9 ** np.arange(len(rewards)) for rewards in (right, wrong)]
    assert discounted[0] > discounted[1] + 1.0
    assert wrong.sum() != pytest.approx(11.0)


def test_each_mistake_prefers_a_wrong_action():
    right, wrong = play("patience", True), play("patience", False)
    assert wrong.sum() > right.sum()  # without γ
    right, wrong = play("ending", True), play("ending", False)
    assert wrong.sum() / len(wrong) > right.sum() / len(right)  # where episodes have no end
    assert len(play("loitering", False)) > len(play("loitering", True))


def test_episodes_begin_everywhere_and_waiting_takes_its_time():
    env = gymnasium.make("sb3_course.envs.dilemmas:Dilemmas-v0")
    check_env(env.unwrapped, skip_render_check=True)
    seen = {int(env.reset(seed=seed)[0].argmax()) for seed in range(200)}
    assert seen == set(range(len(KINDS)))
    assert play("patience", False).tolist() == [0.0] * (DELAY - 1) + [15.0]
    assert len(play("ending", True)) == STEPS
    env.unwrapped.place = KINDS.index("patience")
    obs, *_ = env.unwrapped.step((env.unwrapped.place + 1) % N_ACTIONS)
    assert obs.argmax() == WAITING
