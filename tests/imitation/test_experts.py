import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from sb3_contrib import TQC, MaskablePPO
from stable_baselines3 import A2C, DQN, SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecFrameStack,
    VecNormalize,
    VecTransposeImage,
)

from sb3_course import NPG, DAgger, loading
from sb3_course.common.errors import UserError
from sb3_course.imitation import as_expert, demonstrate, load_expert
from sb3_course.imitation.experts import CHUNK, label
from tests.contract.helpers import WritesActions, any_env
from tests.imitation.helpers import balance, homework_expert, write
from tests.worlds import Scripted


def normalized(env_id, seed=0):
    """An environment whose statistics are anything but zero and one."""
    venv = VecNormalize(make_vec_env(env_id, 2, seed=seed))
    venv.reset()
    for _ in range(30):
        venv.step(np.stack([venv.action_space.sample() for _ in range(2)]))
    return venv


@pytest.mark.parametrize("algorithm", [A2C, SAC, TQC, NPG])
def test_a_model_with_its_statistics(algorithm):
    venv = normalized("Pendulum-v1")
    model = algorithm("MlpPolicy", venv, device="cpu", seed=0)
    raw = venv.get_original_obs()
    expected = model.predict(venv.normalize_obs(raw), deterministic=True)[0]
    for expert in (as_expert(model), as_expert(model.policy, vec_normalize=venv)):
        got = np.clip(expert(raw), venv.action_space.low, venv.action_space.high)
        np.testing.assert_allclose(got, expected, atol=1e-6)
    without = as_expert(model.policy)(raw)
    assert not np.allclose(np.clip(without, -2, 2), expected)


def test_an_expert_keeps_the_normalization_that_it_had():
    """Also where the imitator learns in the expert's own environments."""
    venv = normalized("CartPole-v1")
    model = NPG("MlpPolicy", venv, device="cpu", seed=0)
    model.policy.action_net.weight.data *= 100.0
    states = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)
    before = as_expert(model)(states)
    far = {"obs": 20.0 * states + 5.0, "acts": np.zeros(500, dtype=int)}
    learner = DAgger(
        "MlpPolicy", venv, model, far, n_steps=50, gradient_steps=2, n_eval_episodes=0, device="cpu"
    )
    for _ in range(2):
        learner.learn(100, reset_num_timesteps=False)
        np.testing.assert_array_equal(learner._find_expert(100)(states), before)
    assert (as_expert(model)(states) != before).mean() > 0.1  # as it is from now on


def test_a_model_with_wrappers_above_its_normalization_is_no_expert():
    venv = VecFrameStack(normalized("Pendulum-v1"), 2)
    model = A2C("MlpPolicy", venv, device="cpu")
    with pytest.raises(UserError, match="normalized below VecFrameStack"):
        as_expert(model)


@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_demonstrated_actions_have_the_shape_of_the_space(shape):
    env = any_env(action_space=spaces.Box(-1, 1, shape))
    model = A2C("MlpPolicy", env, device="cpu", seed=0)
    for trajectory in demonstrate(model, env):
        assert trajectory.acts.shape == (len(trajectory), *shape)
    learner = DAgger("MlpPolicy", env, model, demonstrate(model, env), n_eval_episodes=0)
    assert learner.dataset.size > 0


def test_a_gaussian_expert_is_not_clipped():
    model = A2C("MlpPolicy", "Pendulum-v1", device="cpu", seed=0)
    model.policy.action_net.bias.data.fill_(7.0)
    obs = np.zeros((3, 3), dtype=np.float32)
    assert (as_expert(model)(obs) > 5).all() and (model.predict(obs)[0] == 2).all()


def test_files(tmp_path):
    venv = normalized("CartPole-v1")
    raw = venv.get_original_obs()
    ours = NPG("MlpPolicy", venv, seed=0, device="cpu")
    ours.save(tmp_path / "ours.zip")
    DQN("MlpPolicy", "CartPole-v1", seed=0, device="cpu").save(tmp_path / "dqn.zip")
    expected = ours.predict(venv.normalize_obs(raw), deterministic=True)[0]
    np.testing.assert_array_equal(load_expert(tmp_path / "ours.zip")(raw), expected)
    assert load_expert(tmp_path / "dqn.zip", algo="DQN")(raw).shape == (2,)
    homework = load_expert(write(tmp_path / "homework.pkl", homework_expert()))
    assert homework(np.zeros((4, 3))).shape == (4, 2)


@pytest.mark.parametrize("algo", [None, "A2C"])
def test_a_file_of_another_library_has_its_normalization(tmp_path, algo):
    venv = normalized("Pendulum-v1")
    raw = venv.get_original_obs() + 3
    model = A2C("MlpPolicy", venv, seed=0, device="cpu")
    loading.save(model, tmp_path / "a2c.zip")
    expected = as_expert(model)(raw)
    expert = load_expert(tmp_path / "a2c.zip", algo)
    np.testing.assert_array_equal(expert(raw), expected)
    np.testing.assert_array_equal(load_expert(tmp_path / "a2c.zip", algo, True)(raw), expected)


@pytest.mark.parametrize(
    ("name", "said"),
    [("missing.zip", "does not exist"), ("no.zip", "not a zip"), ("a2c.zip", "algo='PPO'")],
)
def test_says_what_is_wrong_with_a_file(tmp_path, name, said):
    (tmp_path / "no.zip").write_text("text")
    A2C("MlpPolicy", "CartPole-v1", device="cpu").save(tmp_path / "a2c.zip")
    with pytest.raises(UserError, match=said):
        as_expert(tmp_path / name)


def test_an_expert_whose_training_has_diverged_is_refused(tmp_path):
    model = A2C("MlpPolicy", "CartPole-v1", device="cpu")
    model.policy.action_net.bias.data[0] = float("nan")
    loading.save(model, tmp_path / "m.zip")
    with pytest.raises(UserError, match=r"weights action_net.bias are not finite"):
        load_expert(tmp_path / "m.zip")


def test_a_policy_with_action_masks_is_no_expert():
    model = MaskablePPO("MlpPolicy", "CartPole-v1", device="cpu")
    for expert in (model, model.policy):
        with pytest.raises(UserError, match="action masks cannot be the expert"):
            as_expert(expert)


def test_a_last_observation_that_is_not_finite_is_told():
    class Vanishes(gym.Wrapper):
        def step(self, action):
            obs, reward, terminated, truncated, info = super().step(action)
            return obs * (np.nan if terminated else 1.0), reward, terminated, truncated, info

    env = DummyVecEnv([lambda: Vanishes(gym.make("CartPole-v1"))])
    with pytest.raises(KeyError, match="'terminal_observation' of finite numbers"):
        demonstrate(lambda obs: np.zeros(len(obs), int), env, 1)


def test_a_file_that_does_not_name_its_class_says_how_to_load_it(tmp_path):
    DQN("MlpPolicy", "CartPole-v1").save(tmp_path / "dqn.zip")
    with pytest.raises(UserError, match=r"load_expert\('dqn.zip', algo='PPO'\)"):
        as_expert(tmp_path / "dqn.zip")
    load_expert(tmp_path / "dqn.zip", algo="DQN")


def test_a_number_is_no_expert():
    with pytest.raises(UserError, match="int is not an expert"):
        as_expert(3)


def test_labels_come_in_batches_and_in_order():
    asked = []

    def expert(obs):
        asked.append(len(obs))
        return obs[:, :1] * 2

    obs = np.arange(CHUNK + 10.0)[:, None]
    actions = label(expert, obs, spaces.Box(-1, 1, (1,)))
    assert asked == [CHUNK, 10]
    np.testing.assert_array_equal(actions, 2 * obs)


@pytest.mark.parametrize(
    ("expert", "said"),
    [
        (lambda obs: 0.0, r"called with 4 .* shape \(\)"),
        (lambda obs: np.zeros((1, 2)), r"shape \(1, 2\)"),
        (lambda obs: np.zeros((4, 3)), "expert does not fit"),
        (lambda obs: np.full((4, 2), np.nan), "expert does not fit.*finite"),
    ],
)
def test_says_what_is_wrong_with_labels(expert, said):
    with pytest.raises(UserError, match=said):
        label(expert, np.zeros((4, 3)), spaces.Box(-1, 1, (2,)))


def test_demonstrates_whole_episodes():
    envs = make_vec_env(lambda: Scripted(end="truncated"), 2)
    found = demonstrate(lambda obs: obs[:, 0].astype(int) % 2, envs, n_episodes=3)
    assert len(found) == 3
    for trajectory in found:
        np.testing.assert_array_equal(trajectory.obs[:, 0], [0, 1, 2, 3])
        np.testing.assert_array_equal(trajectory.acts, [0, 1, 0])
        np.testing.assert_array_equal(trajectory.rews, [1, 2, 4])


def test_demonstrates_what_the_expert_did_if_the_environment_writes_into_its_actions():
    made = (wrap(make_vec_env("CartPole-v1", 2)) for wrap in (WritesActions, lambda env: env))
    one, other = (demonstrate(balance, env, 2, seed=3) for env in made)
    for a, b in zip(one, other, strict=True):
        assert a.acts.tolist() == b.acts.tolist()


def test_demonstrates_the_same_from_the_same_seed():
    envs = make_vec_env("CartPole-v1", 2)
    one, other = (demonstrate(balance, envs, 2, seed=3) for _ in range(2))
    assert one == other
    assert [t.rews.sum() for t in one] == [500, 500]
    assert gym.make("CartPole-v1").observation_space.contains(one[0].obs[0])


def test_a_model_plays_in_its_own_normalized_environment():
    """``VecNormalize`` passes raw observations meanwhile; the model normalizes them itself."""
    venv = VecNormalize(make_vec_env("CartPole-v1", 2, seed=0))
    model = NPG("MlpPolicy", venv, n_steps=64, seed=0, device="cpu").learn(256)
    raw = make_vec_env("CartPole-v1", 2, seed=0)
    one, other = (demonstrate(model, env, 4, seed=3) for env in (venv, raw))
    for own, known in zip(one, other, strict=True):
        np.testing.assert_array_equal(own.obs, known.obs)
        np.testing.assert_array_equal(own.rews, known.rews)
    assert venv.training and venv.norm_obs and venv.norm_reward


def test_an_expert_of_another_task_is_refused():
    model = NPG("MlpPolicy", "Pendulum-v1", n_steps=32)
    with pytest.raises(UserError, match=r"cannot act on observations of shape \(2, 11\)"):
        label(as_expert(model), np.zeros((2, 11)), spaces.Box(-1, 1, (2,)))


@pytest.mark.parametrize(
    ("expert", "why"),
    [
        (lambda obs: int(obs[2] > 0), "index 2 is out of bounds"),
        (lambda obs: {}["angle"], "'angle'"),
        (lambda obs: (np.zeros(2), None), "pass the model itself, or .*predict.*"),
    ],
)
def test_a_function_that_is_no_expert_says_why(expert, why):
    with pytest.raises(UserError, match=rf"cannot act on observations of shape \(2, 4\): .*{why}"):
        label(expert, np.zeros((2, 4)), spaces.Discrete(2))


@pytest.mark.parametrize("kind", ["model", "policy", "file", "function"])
def test_an_expert_of_another_box_is_refused(kind, tmp_path):
    scaled = gym.wrappers.RescaleAction(gym.make("Pendulum-v1"), -1.0, 1.0)
    model = NPG("MlpPolicy", scaled, n_steps=32, seed=0)
    model.save(tmp_path / "expert.zip")
    expert = {
        "model": model,
        "policy": model.policy,
        "file": tmp_path / "expert.zip",
        "function": as_expert(model),
    }[kind]
    with pytest.raises(ValueError, match=r"actions are in Box\(-1\.0, 1\.0.*RescaleAction"):
        DAgger(
            "MlpPolicy", "Pendulum-v1", expert, n_steps=10, gradient_steps=1, n_eval_episodes=0
        ).learn(20)


# -- what an expert is given ---------------------------------------------------------------------


class Colors(gym.Env):
    """Shows a random image; the action is to be whether a pixel is blue."""

    action_space = spaces.Discrete(2)

    def __init__(self, as_dict=False):
        image = spaces.Box(0, 255, (36, 36, 3), np.uint8)
        self.as_dict = as_dict
        self.observation_space = spaces.Dict({"image": image}) if as_dict else image

    def look(self):
        image = self.np_random.integers(0, 256, (36, 36, 3), dtype=np.uint8)
        return {"image": image} if self.as_dict else image

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.look(), {}

    def step(self, action):
        self.t += 1
        return self.look(), 1.0, False, self.t >= 5, {}


def blue(obs):
    images = obs["image"] if isinstance(obs, dict) else obs
    return (images[:, -1, 0, 2] > 127).astype(int)


@pytest.mark.parametrize("as_dict", [False, True])
@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_a_function_sees_images_as_the_environment_returns_them(as_dict, beta):
    """The policy, and with it the data set, has their channels first."""
    policy = "MultiInputPolicy" if as_dict else "CnnPolicy"
    venv = DummyVecEnv([lambda: Colors(as_dict)])
    rounds = {"n_steps": 20, "gradient_steps": 1, "n_eval_episodes": 0, "seed": 0}
    model = DAgger(policy, venv, blue, beta_schedule=beta, device="cpu", **rounds).learn(40)
    seen = model.dataset.obs["image"] if as_dict else model.dataset.obs
    np.testing.assert_array_equal(model.dataset.actions, seen[:, 2, -1, 0] > 127)
    demonstrations = demonstrate(blue, model.get_env(), 1, seed=0)  # the model's own wrapper
    acts = demonstrations[0].acts
    shown = demonstrations[0].obs
    shown = shown.get("image") if as_dict else shown
    np.testing.assert_array_equal(acts, shown[:-1, 2, -1, 0] > 127)


def test_a_function_may_name_the_environments_own_space():
    def named(obs):
        return blue(obs)

    named.observation_space = Colors().observation_space
    rounds = {"n_steps": 20, "gradient_steps": 1, "n_eval_episodes": 0, "seed": 0}
    model = DAgger("CnnPolicy", Colors(), named, device="cpu", **rounds).learn(20)
    np.testing.assert_array_equal(model.dataset.actions, model.dataset.obs[:, 2, -1, 0] > 127)


def test_a_model_labels_images_as_it_predicts_them():
    venv = DummyVecEnv([Colors])
    model = A2C("CnnPolicy", venv, seed=0, device="cpu")
    rounds = {"n_steps": 20, "gradient_steps": 1, "n_eval_episodes": 0, "seed": 0}
    learner = DAgger("CnnPolicy", venv, model, device="cpu", **rounds).learn(20)
    expected, _ = model.predict(learner.dataset.obs, deterministic=True)
    np.testing.assert_array_equal(learner.dataset.actions, expected)


def test_a_function_sees_the_layout_that_the_user_has_asked_for():
    def first(obs):
        return (obs[:, 2, -1, 0] > 127).astype(int)

    venv = VecTransposeImage(DummyVecEnv([Colors]))
    rounds = {"n_steps": 20, "gradient_steps": 1, "n_eval_episodes": 0, "seed": 0}
    model = DAgger("CnnPolicy", venv, first, device="cpu", **rounds).learn(20)
    np.testing.assert_array_equal(model.dataset.actions, model.dataset.obs[:, 2, -1, 0] > 127)


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_an_expert_that_changes_its_argument_changes_no_data(beta):
    def careless(obs):
        obs *= 100
        return balance(obs)

    rounds = {"n_steps": 20, "gradient_steps": 1, "n_eval_episodes": 0, "seed": 0}
    model = DAgger("MlpPolicy", "CartPole-v1", careless, beta_schedule=beta, **rounds).learn(40)
    assert np.abs(model.dataset.obs).max() < 5
    (trajectory,) = demonstrate(careless, make_vec_env("CartPole-v1", 1), 1, seed=0)
    assert np.abs(trajectory.obs).max() < 5


@pytest.mark.parametrize(
    ("env", "n", "said"),
    [("CartPole-v1", 1, "env must be a VecEnv"), (make_vec_env("CartPole-v1", 1), 0, "n_episodes")],
)
def test_demonstrate_says_what_is_wrong(env, n, said):
    with pytest.raises(ValueError, match=said):
        demonstrate(balance, env, n)
