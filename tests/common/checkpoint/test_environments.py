import mmap
import pickle
import sys
import types
from functools import partial

import gymnasium
import mujoco
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from gymnasium.utils import EzPickle
from gymnasium.wrappers import FrameStackObservation, TransformReward
from stable_baselines3.common.env_util import make_vec_env as sb3_make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
)

from sb3_course.common.checkpoint import environments
from sb3_course.envs.gymnasium_vec_env import GymnasiumVecEnv
from sb3_course.envs.make import make_vec_env


class Drifting(gymnasium.Env):
    """Keeps state of every kind that pickles, some of it shared."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,))
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position, self.history = np.zeros(2, dtype=np.float32), []
        self.shared = {"history": self.history}
        self.me = self
        self.draw = self.np_random.normal
        return self.position.copy(), {}

    def step(self, action):
        self.shared["history"].append(int(action))
        noise = self.np_random.normal() + np.random.random()
        self.position += np.float32(noise + sum(self.history) + self.me.position[0])
        return self.position.copy(), float(noise), len(self.history) == 20, False, {}


class HoldsAnother(Drifting):
    """Holds an environment whose pickle is that of a new one."""

    def __init__(self):
        self.inner = Constructed()


class Constructed(EzPickle, Drifting):
    pass


class Composite(gymnasium.Env):
    """Holds an environment, without being a wrapper, and names as those of layers."""

    def __init__(self):
        self.env = gymnasium.make("CartPole-v1")
        self.observation_space, self.action_space = self.env.observation_space, spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t_start, self.venv = 0, np.zeros(1)
        return self.env.reset(seed=seed, options=options)

    def step(self, action):
        self.t_start += 1
        self.venv += self.t_start
        obs, _, *rest = self.env.step(action)
        return obs, float(self.venv[0]), *rest


class Snake:
    """A simulation; that of a module of one's own whose name begins as a library's does."""

    def __init__(self):
        self.x = 0.0

    def move(self, action, length=1.0):
        self.x += length * (action + 1)
        return self.x


Snake.__module__ = "pygame_snake"
sys.modules["pygame_snake"] = types.SimpleNamespace(Snake=Snake)


class Plays(Drifting):
    """Leads to its simulation in one of several ways."""

    def __init__(self, lead):
        self.lead = lead

    def reset(self, *, seed=None, options=None):
        obs, info = super().reset(seed=seed)
        self.move = self.lead(Snake())
        return obs, info

    def step(self, action):
        obs, _, *rest = super().step(action)
        return obs, self.move(int(action)), *rest


def enclosed(snake):
    return lambda action: snake.move(action)


class Slots(Drifting):
    __slots__ = ("__hidden", "x")

    def reset(self, *, seed=None, options=None):
        self.x = self.__hidden = 0
        return super().reset(seed=seed)

    def step(self, action):
        self.x += 1
        self.__hidden += self.x
        obs, _, *rest = super().step(action)
        return obs, float(self.__hidden), *rest


class Scales(DummyVecEnv):
    """Has a counter and a generator of its own, which is that of no environment."""

    def __init__(self, fns):
        super().__init__(fns)
        self.count, self.rng, self.log = 0, np.random.default_rng(0), print

    def step_wait(self):
        self.count += 1
        obs, rewards, dones, infos = super().step_wait()
        return obs, rewards * self.count + self.rng.random(), dones, infos


class HoldsAGenerator(Drifting):
    def __init__(self):
        self.numbers = (i for i in range(10))


class Broken(Drifting):
    """Fails where its attributes are looked at, as anything may."""

    @property
    def __dict__(self):
        raise KeyError("this environment hides its attributes")


class Views(Drifting):
    """Keeps its state in one array, and names for parts of it."""

    def reset(self, *, seed=None, options=None):
        obs, info = super().reset(seed=seed)
        self.state = np.zeros((2, 2), order="F")
        self.x, self.last, self.turned = self.state[0], self.state[:, ::-1][1:], self.state.T
        self.reshaped = np.arange(4.0).reshape(2, 2)  # a view of an array that nobody else has
        return obs, info

    def step(self, action):
        self.action = action
        self.x += 1
        self.last += self.turned[0]
        self.turned += self.reshaped
        obs, _, *rest = super().step(action)
        return obs, float(self.state.sum() + self.x[0]), *rest


class Watches(gymnasium.Wrapper):
    """Knows the simulation, and some of its arrays."""

    def __init__(self, env):
        super().__init__(env)
        self.data, self.qpos = env.unwrapped.data, env.unwrapped.data.qpos
        self.velocities = {"first": env.unwrapped.data.qvel[:2]}
        self.mass = env.unwrapped.model.body_mass[1:]

    def step(self, action):
        obs, _, *rest = super().step(action)
        seen = self.qpos.sum() + self.velocities["first"].sum() + self.mass[0]
        return obs, float(seen + self.data.qacc.sum()), *rest


class Late(Drifting):
    """Has views since it was made, one of them of what changes late."""

    def __init__(self):
        self.state, self.table = np.zeros(4), np.zeros((100_000, 10))
        self.x, self.late, self.prices = self.state[:2], self.state[2:], self.table[:, 1:]
        del self.table

    def reset(self, *, seed=None, options=None):
        obs, info = super().reset(seed=seed)
        self.state[:] = 0
        self.grid = np.array([None, "wall"] * 2, dtype=object).reshape(2, 2)
        return obs, info

    def step(self, action):
        obs, _, ended, *rest = super().step(action)
        self.row, self.x[:] = self.prices[len(self.history)], self.x + 1
        if len(self.history) > 15:
            self.late += 1
        return obs, float(self.state.sum() + self.row[0]), ended, *rest


class Simulates(Drifting):
    """Makes its simulation when it is reset, and knows it by several names."""

    def __init__(self):
        body = "<body><joint type='slide'/><geom size='.1'/></body>"
        xml = f"<mujoco><worldbody>{body}</worldbody></mujoco>"
        self.model, self.data = mujoco.MjModel.from_xml_string(xml), None

    def reset(self, *, seed=None, options=None):
        obs, info = super().reset(seed=seed)
        self.data = mujoco.MjData(self.model)
        self.all, self.height = [self.data], self.data.qpos
        self.before = self.data.body(1).xpos
        return obs, info

    def step(self, action):
        self.all[0].qvel[0] += action
        mujoco.mj_step(self.model, self.data)
        obs, _, *rest = super().step(action)
        return obs, float(self.height[0] + self.before[2]), *rest


class SharesMemory(Drifting):
    """Has two objects over one memory that pickle separates."""

    def __init__(self, first, second):
        self.first = first
        self.second = second(first)


def steps(venv, n, seed):
    rng, seen = np.random.default_rng(seed), []
    for _ in range(n):
        if isinstance(venv.action_space, spaces.Box):
            shape = (venv.num_envs, *venv.action_space.shape)
            actions = rng.uniform(-1, 1, shape).astype(np.float32)
        else:
            actions = rng.integers(venv.action_space.n, size=venv.num_envs)
        obs, rewards, dones, infos = venv.step(actions)
        episodes = [info["episode"]["r"] for info in infos if "episode" in info]
        seen.append((np.array(obs).tolist(), rewards.tolist(), dones.tolist(), episodes))
    return seen


def stacked():
    return FrameStackObservation(TransformReward(Drifting(), lambda r: 2 * r), 3)


KEPT = {
    "CartPole": partial(make_vec_env, "CartPole-v1", backend="dummy"),
    "Acrobot": partial(make_vec_env, "Acrobot-v1", backend="dummy"),
    "MountainCar": partial(make_vec_env, "MountainCarContinuous-v0", backend="dummy"),
    "Pendulum": partial(make_vec_env, "Pendulum-v1", backend="dummy", normalize=True),
    "Hopper": partial(make_vec_env, "Hopper-v4", backend="dummy", normalize=True),
    "Ant": partial(make_vec_env, "Ant-v4", backend="dummy"),
    "HalfCheetah-v5": partial(make_vec_env, "HalfCheetah-v5", backend="dummy"),
    "dilemmas": partial(make_vec_env, "sb3_course.envs.dilemmas:Dilemmas-v0", backend="dummy"),
    "of one's own": partial(sb3_make_vec_env, Drifting),
    "wrapped": partial(sb3_make_vec_env, stacked),
    "stacked frames": partial(make_vec_env, "Pendulum-v1", backend="dummy", frame_stack=3),
    "named wrappers": partial(
        make_vec_env, "Pendulum-v1", backend="dummy", wrappers=["NormalizeReward"], time_limit=9
    ),
    "Gymnasium's": partial(make_vec_env, "Acrobot-v1", backend="gymnasium", normalize=True),
    "subproc": partial(make_vec_env, "CartPole-v1", backend="subproc"),
    "subproc Hopper": partial(make_vec_env, "Hopper-v4", backend="subproc", normalize=True),
    "an environment inside": partial(sb3_make_vec_env, Composite),
    "a bound method": partial(sb3_make_vec_env, partial(Plays, lambda snake: snake.move)),
    "a partial": partial(sb3_make_vec_env, partial(Plays, lambda s: partial(s.move, length=2.0))),
    "views": partial(sb3_make_vec_env, Views),
    "views in processes": partial(sb3_make_vec_env, Views, vec_env_cls=SubprocVecEnv),
    "late changes": partial(sb3_make_vec_env, Late),
    "a simulation made late": partial(sb3_make_vec_env, Simulates),
    "views of MuJoCo": partial(sb3_make_vec_env, "Hopper-v5", wrapper_class=Watches),
    "slots": partial(sb3_make_vec_env, Slots),
    "a VecEnv of one's own": partial(sb3_make_vec_env, Drifting, vec_env_cls=Scales),
    "SB3's subproc": partial(sb3_make_vec_env, Drifting, vec_env_cls=SubprocVecEnv),
}


@pytest.mark.parametrize("name", KEPT)
def test_an_environment_goes_on_where_its_state_was_taken(name):
    """In another one, which another seed has led elsewhere."""
    one, other = (KEPT[name](n_envs=2, seed=seed) for seed in (0, 7))
    one.reset(), other.reset()
    steps(one, 70, seed=1), steps(other, 13, seed=2)
    state = environments.take(one)
    np.random.seed(3)
    expected = steps(one, 150, seed=4)
    environments.put(other, state)
    for venv in (one, other):
        if isinstance(venv, VecNormalize):  # its statistics are in another part of the file
            other.obs_rms, other.ret_rms = one.obs_rms, one.ret_rms
            one.training = other.training = False
    np.random.seed(3)
    if not isinstance(one, VecNormalize):
        assert steps(other, 150, seed=4) == expected
    else:
        assert [step[2:] for step in steps(other, 150, seed=4)] == [step[2:] for step in expected]
    one.close(), other.close()


@pytest.mark.parametrize(
    "wrap",
    [partial(VecFrameStack, n_stack=3), VecMonitor, lambda v: VecFrameStack(VecMonitor(v), 2)],
)
def test_wrappers_of_vector_environments_go_on_as_well(wrap):
    one, other = (wrap(DummyVecEnv([partial(gymnasium.make, "Pendulum-v1")] * 2)) for _ in range(2))
    one.seed(0)
    one.reset(), other.reset()
    steps(one, 30, seed=1), steps(other, 3, seed=2)
    environments.put(other, environments.take(one))
    assert steps(other, 250, seed=4) == steps(one, 250, seed=4)


def test_taking_a_state_changes_nothing():
    one, other = (KEPT["Hopper"](n_envs=2, seed=0) for _ in range(2))
    one.reset(), other.reset()
    environments.take(one)
    assert steps(one, 50, seed=1) == steps(other, 50, seed=1)


def test_seeds_for_the_next_reset_are_part_of_the_state():
    one, other = (KEPT["CartPole"](n_envs=2, seed=seed) for seed in (0, 7))
    one.reset(), other.reset()
    one.seed(5)
    environments.put(other, environments.take(one))
    assert one.reset().tolist() == other.reset().tolist()
    assert one.reset().tolist() == other.reset().tolist()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (
            lambda: Monitor(HoldsAnother()),
            "Constructed pickles its constructor's arguments, not its state",
        ),
        (lambda: Monitor(HoldsAGenerator()), "generator"),
        (lambda: Monitor(Plays(enclosed)), "enclosed.<locals>.<lambda>"),
        (lambda: Monitor(Plays(lambda s: partial(enclosed(s)))), "enclosed.<locals>.<lambda>"),
        (lambda: Monitor(Broken()), "this environment hides its attributes"),
        (lambda: Monitor(SharesMemory(th.zeros(3), lambda a: a[1:])), "share memory"),
        (lambda: Monitor(SharesMemory(np.zeros(3), th.from_numpy)), "share memory"),
        (lambda: Monitor(SharesMemory(mmap.mmap(-1, 8), np.frombuffer)), "memory of a mmap|mmap"),
        (
            lambda: Monitor(SharesMemory(np.array([None] * 3), lambda a: a[1:])),
            "ndarray of object share",
        ),
        (partial(gymnasium.make, "LunarLander-v3"), "LunarLander|Swig|pickle"),
    ],
)
@pytest.mark.parametrize("vec_env", [DummyVecEnv, SubprocVecEnv])
def test_what_cannot_be_kept_says_why(make, why, vec_env):
    venv = vec_env([make])
    venv.reset()
    with pytest.raises(environments.NotKeptError, match=why):
        environments.take(venv)
    venv.step(np.array([venv.action_space.sample()]))  # and goes on all the same
    venv.close()


def test_a_raw_environment_in_a_process_of_its_own_is_out_of_reach():
    venv = SubprocVecEnv([Drifting])
    venv.reset()
    with pytest.raises(environments.NotKeptError, match="needs a wrapper that takes attributes"):
        environments.take(venv)
    venv.close()


def test_envpool_keeps_no_states():
    pytest.importorskip("envpool")
    venv = make_vec_env("CartPole-v1", 2, seed=0, backend="envpool")
    venv.reset()
    with pytest.raises(environments.NotKeptError, match="EnvPoolVecEnv"):
        environments.take(venv)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (lambda: make_vec_env("CartPole-v1", 3, backend="dummy"), "states of 2 environments"),
        (lambda: make_vec_env("Acrobot-v1", 2, backend="dummy"), "CartPoleEnv.*not of .*Acrobot"),
        (
            lambda: VecFrameStack(make_vec_env("CartPole-v1", 2, backend="dummy"), 2),
            "of no wrapper, not of VecFrameStack",
        ),
    ],
)
def test_states_of_other_environments_are_refused(other, why):
    venv, target = make_vec_env("CartPole-v1", 2, backend="dummy"), other()
    venv.reset(), target.reset()
    with pytest.raises(environments.NotKeptError, match=why):
        environments.put(target, environments.take(venv))


class Draws(gymnasium.Env):
    """Draws its observations from a generator that it is given, and may have an opponent."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, generator, opponent=None):
        self.generator, self.opponent = generator, opponent

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.generator.random(1).astype(np.float32), {}

    def step(self, action):
        return self.generator.random(1).astype(np.float32), 1.0, False, False, {}


def test_what_environments_share_is_not_copied():
    shared, policy = np.random.default_rng(0), th.nn.Linear(1, 1)
    together = DummyVecEnv([lambda: Draws(shared)] * 2)
    with pytest.raises(environments.NotKeptError, match="environments share a Generator"):
        environments.take(together)
    plays = DummyVecEnv([lambda: Draws(np.random.default_rng(0), [policy])])
    with pytest.raises(environments.NotKeptError, match="holds the model's policy"):
        environments.take(plays, policy=policy)
    environments.take(plays, policy=th.nn.Linear(1, 1))  # a fixed opponent
    environments.take(DummyVecEnv([lambda: Draws(np.random.default_rng(0))] * 2))


@pytest.mark.skipif(
    not hasattr(gymnasium.vector, "AutoresetMode"), reason="Gymnasium 1.0 has no autoreset modes"
)
def test_gymnasiums_vector_wrappers_go_on_as_well():
    def make():
        vector = gymnasium.make_vec(
            "CartPole-v1",
            2,
            vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP},
        )
        return GymnasiumVecEnv(gymnasium.wrappers.vector.NormalizeReward(vector))

    one, other = make(), make()
    one.seed(0)
    one.reset(), other.reset()
    steps(one, 60, seed=1), steps(other, 3, seed=2)
    environments.put(other, environments.take(one))
    assert steps(other, 50, seed=4) == steps(one, 50, seed=4)


def test_a_state_is_small():
    venv = make_vec_env("CartPole-v1", 2, backend="dummy")
    venv.reset()
    assert len(environments.take(venv)) < 20_000
    assert pickle.loads(environments.take(venv))[0] == []


def test_of_a_large_array_only_what_is_needed_is_in_the_state():
    """As a window of a table that no attribute names; also if another one overlaps it."""
    venv = sb3_make_vec_env(Late, 2)
    first = environments.look(venv)
    venv.reset()
    steps(venv, 5, seed=1)
    assert len(environments.take(venv, first)) < 10_000
    for env in venv.envs:
        env.unwrapped.rows = env.unwrapped.prices[3:9]
    assert len(environments.take(venv, first)) < 10_000


class Prices(gymnasium.Env):
    """Has data, and an account that knows them."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self):
        self.prices = np.random.default_rng(0).random(100_000)
        self.account = types.SimpleNamespace(prices=self.prices, money=0.0)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.account.money += self.account.prices[int(action)]
        return np.full(1, self.account.money, np.float32), self.account.money, False, False, {}


@pytest.mark.parametrize("kind", [DummyVecEnv, SubprocVecEnv])
def test_data_that_do_not_change_are_not_in_the_state(kind):
    one, other = (sb3_make_vec_env(Prices, 2, vec_env_cls=kind) for _ in range(2))
    first = environments.look(one)
    one.reset(), other.reset()
    steps(one, 30, seed=1)
    state = environments.take(one, first)
    assert len(environments.take(one)) > 2 * 8 * 100_000
    assert len(state) < 30_000
    environments.put(other, state)
    assert steps(other, 30, seed=4) == steps(one, 30, seed=4)
    if kind is DummyVecEnv:
        own = [env.unwrapped for env in other.envs]
        assert all(env.account.prices is env.prices for env in own)
        assert own[0].prices is not one.envs[0].unwrapped.prices
    one.close(), other.close()


def test_no_vec_env_has_attributes_of_its_own_unless_it_was_given_them():
    """Of SB3 and this package: what a newer version adds has to be named."""
    kinds = [
        DummyVecEnv([Drifting]),
        make_vec_env("CartPole-v1", backend="dummy"),
        KEPT["subproc"](n_envs=1),
        KEPT["Gymnasium's"](n_envs=2).unwrapped,
    ]
    for venv in kinds:
        venv.reset()
        venv.step(np.array([0] * venv.num_envs))
        assert environments._own(venv) == types.SimpleNamespace()
        venv.close()


def rewarding(seen):
    def reward(r):
        seen["steps"] = seen.get("steps", 0) + 1
        return r * seen["steps"]

    return reward


@pytest.mark.parametrize("looks", [True, False])
def test_a_function_that_encloses_data_keeps_them(looks):
    """Wrappers have such functions, and a lambda cannot be pickled."""
    options = types.SimpleNamespace(scale=np.float64(3)) if looks else np.float64(3)

    def make():
        scales = {"length": [1.0, np.ones(2)]}
        return TransformReward(Drifting(), lambda r: r * len(scales) + (options is None))

    one, other = DummyVecEnv([make]), DummyVecEnv([make])
    first = environments.look(one) if looks else None
    one.reset(), other.reset()
    steps(one, 13, seed=1)
    environments.put(other, environments.take(one, first))
    np.random.seed(3)
    expected = steps(one, 9, seed=4)
    np.random.seed(3)
    assert steps(other, 9, seed=4) == expected


def test_a_function_whose_data_change_is_refused():
    venv = DummyVecEnv([lambda: TransformReward(Drifting(), rewarding({}))])
    first = environments.look(venv)
    venv.reset()
    environments.take(venv, first)
    steps(venv, 2, seed=1)
    with pytest.raises(environments.NotKeptError, match="rewarding.<locals>.reward"):
        environments.take(venv, first)


def test_a_function_of_other_data_is_another_setting():
    def make(scale, reward):
        return DummyVecEnv([lambda: TransformReward(Drifting(), reward(scale))])

    def one(scale):
        return lambda r: scale * r

    def other(scale):
        return lambda r: r * scale

    venv = make(2.0, one)
    first = environments.look(venv)
    venv.reset()
    state = environments.take(venv, first)
    environments.put(make(2.0, other), state)
    with pytest.raises(environments.NotKeptError, match="made otherwise: TransformReward.func"):
        environments.put(make(3.0, other), state)
