import shutil
from dataclasses import replace
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import A2C
from stable_baselines3.common.vec_env import DummyVecEnv

import sb3_course
from sb3_course import building, loading, opening, playing
from sb3_course.common import checkpoint
from sb3_course.common.errors import UserError
from sb3_course.envs.config import EnvConfig

SMALL = {"A2C": {}, "REINFORCE": {"n_steps": 16}}


def build(name="A2C", params=None, env_id="CartPole-v1", normalize=True, backend="dummy"):
    params = SMALL.get(name, {}) if params is None else params
    return building.build(name, params, env_id, 2, 3, backend, normalize)


@pytest.fixture(scope="module", params=["A2C", "REINFORCE"])
def saved(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / f"{request.param}.zip"
    model = build(request.param).learn(200)
    loading.save(model, path)
    return path, model


def test_a_saved_model_plays_where_and_as_it_trained(saved):
    path, model = saved
    played = list(playing.play(path, None, episodes=2, seed=5))
    by_hand = []
    for seed in (5, 6):
        env = gym.make("CartPole-v1")
        obs, _ = env.reset(seed=seed)
        total, over = 0.0, False
        while not over:
            normal = model.get_vec_normalize_env().normalize_obs(obs)
            obs, reward, ended, cut, _ = env.step(model.predict(normal, deterministic=True)[0])
            total, over = total + reward, ended or cut
        by_hand.append((total, int(total)))
    assert played == by_hand


def test_normalization_is_frozen_while_playing(saved):
    path, model = saved
    env = DummyVecEnv([lambda: gym.make("CartPole-v1")])
    loaded = opening.load_to_play(path, checkpoint.read_header(path), env, None, True)
    ours, theirs = loaded.get_vec_normalize_env(), model.get_vec_normalize_env()
    assert np.array_equal(ours.obs_rms.mean, theirs.obs_rms.mean)
    assert not ours.training


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"environment": "Pendulum-v1"}, "cannot be loaded: Observation spaces do not match"),
        ({"environment": "CartPol-v1"}, "did you mean 'CartPole-v1'"),
        ({"name": "A2"}, "unknown algorithm 'A2'"),
        ({"name": "SAC"}, "not by SAC: leave out --algo"),
        ({"render": True}, "--render needs a screen"),
    ],
)
def test_what_does_not_fit_is_told(saved, changes, expected, monkeypatch):
    monkeypatch.setattr(playing, "has_screen", lambda: False)
    with pytest.raises(UserError) as caught:
        list(
            playing.play(
                **{"path": saved[0], "environment": None, "episodes": 1, "seed": 0, **changes}
            )
        )
    assert expected in str(caught.value)


def test_what_opens_no_window_is_told_with_its_render_modes(saved, monkeypatch):
    monkeypatch.setattr(playing, "has_screen", lambda: True)
    env_id = "sb3_course.envs.dilemmas:Dilemmas-v0"
    with pytest.raises(UserError, match=r"opens no window \(human\); its render modes: none"):
        list(playing.play(saved[0], env_id, episodes=1, seed=0, render=True))


def test_a_file_that_names_no_environment_needs_one(saved, monkeypatch):
    monkeypatch.setattr(checkpoint, "read_header", lambda path: {"class": "A2C"})
    with pytest.raises(UserError, match="add its id, as in CartPole-v1"):
        list(playing.play(saved[0], None, episodes=1, seed=0))


def test_a_model_that_sb3_saved_needs_environment_and_class(tmp_path):
    path = tmp_path / "a2c.zip"
    A2C("MlpPolicy", "CartPole-v1", device="cpu").save(path)
    with pytest.raises(UserError, match="does not name its environment"):
        next(playing.play(path, None, 1, 0))
    with pytest.raises(UserError, match="does not name its class: add it, as in --algo A2C"):
        next(playing.play(path, "CartPole-v1", 1, 0))
    with pytest.raises(UserError, match="was it saved by another class than SAC"):
        next(playing.play(path, "Pendulum-v1", 1, 0, name="SAC", trust=True))
    with pytest.raises(UserError, match="not written by you .*holds pickled Python.*add --trust"):
        next(playing.play(path, "CartPole-v1", 2, 0, name="A2C"))
    assert len(list(playing.play(path, "CartPole-v1", 2, 0, name="A2C", trust=True))) == 2


def test_a_file_of_another_user_is_played_without_its_pickles(tmp_path, monkeypatch):
    """Its modules are not imported, and code in it is not executed."""
    path = tmp_path / "model.zip"
    model = build("tests.benchmark.helpers:PassesOn", {})
    loading.save(model, path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another user"))
    with pytest.raises(UserError, match="imports the module tests.benchmark.helpers.*add --trust"):
        next(playing.play(path, None, 1, 0))
    assert len(list(playing.play(path, None, 1, 0, trust=True))) == 1
    loading.save(build("A2C", {}), tmp_path / "a2c.zip")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "a third user"))
    assert len(list(playing.play(tmp_path / "a2c.zip", None, 2, 0))) == 2


def test_a_model_of_ones_own_class_is_found_in_its_module(tmp_path, monkeypatch):
    path = tmp_path / "model.zip"
    name = "tests.benchmark.helpers:PassesOn"
    model = build(name, {})
    loading.save(model, path)
    assert checkpoint.read_header(path)["module"] == "tests.benchmark.helpers"
    assert len(list(playing.play(path, None, 1, 0))) == 1
    assert len(list(playing.play(path, None, 1, 0, name=name))) == 1
    for module in ("__main__", "no_such_module"):
        monkeypatch.setattr(type(model), "__module__", module)
        loading.save(model, path)
        with pytest.raises(UserError, match="needs --algo: (unknown|cannot import) .*PassesOn'"):
            next(playing.play(path, None, 1, 0))


@pytest.mark.parametrize("name", sb3_course.IMITATION)
def test_a_student_plays_without_its_expert(tmp_path, name):
    def balance(obs):
        return (obs[:, 2] + obs[:, 3] > 0).astype(int)

    given = {"n_steps": 40, "expert": balance} if name == "DAgger" else {}
    model = getattr(sb3_course, name)("MlpPolicy", "CartPole-v1", seed=0, device="cpu", **given)
    model.save(tmp_path / "student.zip")
    ((total, length),) = playing.play(tmp_path / "student.zip", None, 1, 0)
    assert total == length > 0


def test_files_that_are_no_models_are_refused(tmp_path, saved):
    path = tmp_path / "model.zip"
    path.write_text("no zip")
    with pytest.raises(UserError, match="is not a checkpoint"):
        next(playing.play(path, None, 1, 0))
    shutil.make_archive(str(tmp_path / "model"), "zip", tmp_path)
    with pytest.raises(UserError, match="damaged or cut off, or no checkpoint"):
        next(playing.play(path, "CartPole-v1", 1, 0, name="A2C"))


OWN = "tests.own_envs"
WALK = EnvConfig(f"{OWN}:Walk-v0", {"goal": 2.0}, frame_stack=3, time_limit=6)


@pytest.fixture(scope="module")
def walker(tmp_path_factory):
    """A model of an environment with settings, with normalization."""
    path = tmp_path_factory.mktemp("walker") / "walker.zip"
    model = building.build("NPG", {"n_steps": 16}, WALK, 2, 0, "dummy", True).learn(64)
    loading.save(model, path)
    return path


def test_a_model_is_played_in_the_environment_that_its_file_describes(walker):
    assert opening.environment_of(walker, None, trust=False) == WALK
    assert opening.environment_of(walker, WALK.id, trust=False) == WALK
    assert opening.environment_of(walker, "CartPole-v1", trust=False) == EnvConfig("CartPole-v1")
    plain = replace(WALK, id=WALK.id.rpartition(":")[2])
    assert opening.environment_of(walker, plain.id, trust=False) == plain
    own = list(playing.play(walker, None, 3, seed=4))
    assert own == list(playing.play(walker, WALK, 3, seed=4))
    assert {length for _, length in own} == {6}
    longer = EnvConfig(WALK.id, WALK.kwargs, frame_stack=3)
    assert next(playing.play(walker, longer, 1, seed=4))[1] > 6
    with pytest.raises(UserError, match="Observation spaces do not match"):
        next(playing.play(walker, EnvConfig(WALK.id), 1, 0))
    with pytest.raises(UserError, match=r"Walk-v0 cannot be made here: kwargs.goal: given 7"):
        next(playing.play(walker, EnvConfig(WALK.id, {"goal": 7}), 1, 0))


def test_weights_that_are_not_finite_are_told(tmp_path):
    model = A2C("MlpPolicy", "CartPole-v1", device="cpu")
    model.policy.action_net.bias.data[0] = float("nan")
    loading.save(model, tmp_path / "m.zip")
    with pytest.raises(UserError, match=r"weights action_net.bias are not finite"):
        next(playing.play(tmp_path / "m.zip", None, 1, 0))


def test_a_model_made_in_python_is_played_in_its_own_task(tmp_path):
    make = partial(gym.make, "Pendulum-v1", g=1.0, max_episode_steps=30)
    model = sb3_course.NPG("MlpPolicy", make(), device="cpu", seed=0)
    model.save(tmp_path / "m.zip")
    played = list(playing.play(tmp_path / "m.zip", None, 2, seed=4))
    own = EnvConfig("Pendulum-v1", {"g": 1.0}, time_limit=30)
    assert played == list(playing.play(tmp_path / "m.zip", own, 2, seed=4))
    assert {length for _, length in played} == {30}
    model.set_env(gym.wrappers.TransformReward(make(), lambda r: 2 * r))
    model.save(tmp_path / "odd.zip")
    with pytest.raises(UserError, match=r"odd.zip was trained in Pendulum-v1 with .*: add the env"):
        next(playing.play(tmp_path / "odd.zip", None, 1, 0))
    assert next(playing.play(tmp_path / "odd.zip", "Pendulum-v1", 1, 4)) == played[0]


def test_a_film_shows_the_same_episodes(walker, tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    config = EnvConfig(WALK.id, WALK.kwargs, (f"{OWN}:Scaled",), 3, 6)
    plain = list(playing.play(walker, config, 2, seed=4))
    assert plain == list(playing.play(walker, config, 2, seed=4, video=tmp_path / "a.mp4"))


def test_no_film_takes_the_place_of_the_model(walker, tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    model = tmp_path / "m.mp4"
    model.write_bytes(walker.read_bytes())
    with pytest.raises(UserError, match=r"--video: .*m\.mp4 is read as well, and kept"):
        next(playing.play(model, EnvConfig(WALK.id, WALK.kwargs), 1, seed=4, video=model))
    assert model.read_bytes() == walker.read_bytes()


@pytest.mark.parametrize(
    "settings", [{"kwargs": 3}, {"frame_stack": -1}, {"wrappers": [3]}, {"mystery": 1}, {"id": 2}]
)
def test_malformed_settings_in_a_file_are_told(walker, tmp_path, settings):
    model = sb3_course.load(walker, device="cpu")
    vars(model)["env_settings"] = settings
    loading.save(model, tmp_path / "odd.zip")
    with pytest.raises(UserError, match=r"odd.zip: the settings of its environment: "):
        next(playing.play(tmp_path / "odd.zip", None, 1, 0))


def test_settings_stay_behind_with_their_environment(walker, tmp_path):
    model = sb3_course.load(walker, device="cpu")
    loading.save(model, tmp_path / "again.zip")
    assert checkpoint.read_header(tmp_path / "again.zip")["env_settings"] == WALK.data(WALK.id)
    model = sb3_course.NPG("MlpPolicy", "CartPole-v1", device="cpu")
    checkpoint.remember(model, {"env": WALK.id, "env_settings": WALK.data(WALK.id)})
    loading.save(model, tmp_path / "other.zip")  # which acts elsewhere by now
    assert "env_settings" not in checkpoint.read_header(tmp_path / "other.zip")
