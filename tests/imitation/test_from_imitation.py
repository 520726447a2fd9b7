import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

import sb3_course
from sb3_course import BC
from tests.contract.helpers import any_env, every_class, takes
from tests.imitation.test_bc import samples

KWARGS = {"seed": 0, "device": "cpu"}


def short(algorithm):
    return KWARGS | ({"n_steps": 16} if takes(algorithm, "n_steps") else {})


@every_class
@pytest.mark.parametrize("wrap", [lambda venv: venv, VecNormalize], ids=["raw", "normalized"])
def test_carries_on_from_the_policy_with_fresh_optimizers(algorithm, wrap):
    env = wrap(make_vec_env("CartPole-v1", 2, seed=0))
    bc = BC("MlpPolicy", env, samples(env), policy_kwargs={"net_arch": [16]}, **KWARGS).learn(2000)
    model = algorithm.from_imitation(bc, make_vec_env("CartPole-v1", 2, seed=1), **short(algorithm))
    raw = samples(env)["obs"]
    old, new = bc.get_vec_normalize_env(), model.get_vec_normalize_env()
    assert (old is None) == (new is None)
    if old is not None:
        np.testing.assert_array_equal(old.obs_rms.mean, new.obs_rms.mean)
        np.testing.assert_array_equal(old.obs_rms.var, new.obs_rms.var)
        assert new.training and new is not old
        raw = new.normalize_obs(raw)
    for deterministic in (True, False):
        th.manual_seed(0)
        expected, _ = bc.predict(raw, deterministic=deterministic)
        th.manual_seed(0)
        np.testing.assert_array_equal(expected, model.predict(raw, deterministic=deterministic)[0])
    assert not model.actor_optimizer.state and not model.critic_optimizer.state
    before = [p.clone() for p in bc.policy.parameters()]
    model.learn(100)
    assert all(th.equal(a, b) for a, b in zip(before, bc.policy.parameters()))  # a copy
    assert not all(th.equal(a, b) for a, b in zip(before, model.policy.parameters()))


def test_dict_observations():
    env = any_env(spaces.Dict({"a": spaces.Box(-1, 1, (3,))}))
    bc = BC("MultiInputPolicy", env, samples(env), **KWARGS).learn(200)
    model = sb3_course.NPG.from_imitation(bc, any_env(env.observation_space), n_steps=16, **KWARGS)
    obs = samples(env)["obs"]
    expected = bc.predict(obs, deterministic=True)[0]
    np.testing.assert_array_equal(model.predict(obs, deterministic=True)[0], expected)


def test_takes_a_name():
    bc = BC("MlpPolicy", "CartPole-v1", **KWARGS)
    assert sb3_course.NPG.from_imitation(bc, "CartPole-v1", **KWARGS).n_envs == 1


def test_refuses_normalization_that_the_policy_does_not_know():
    bc = BC("MlpPolicy", "CartPole-v1", **KWARGS)
    with pytest.raises(ValueError, match="raw observations"):
        sb3_course.NPG.from_imitation(bc, VecNormalize(make_vec_env("CartPole-v1", 1)), **KWARGS)
    rewards_alone = VecNormalize(make_vec_env("CartPole-v1", 1), norm_obs=False)
    sb3_course.NPG.from_imitation(bc, rewards_alone, **KWARGS)
