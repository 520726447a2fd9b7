import os
import sys
from contextlib import suppress
from typing import ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from imageio_ffmpeg import read_frames

from sb3_course.common.errors import UserError
from sb3_course.common.video import (
    DEFAULT_FPS,
    Film,
    check_video,
    film,
    filmed_env,
    follow,
    frames_per_second,
    has_screen,
    record,
    use_no_screen,
)
from sb3_course.envs.config import EnvConfig


class Painter(gymnasium.Env):
    """Lasts three steps; step t is drawn in gray 50 t, in a picture with odd sides."""

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 20}
    observation_space = spaces.Box(-1, 1, (1,))
    action_space = spaces.Discrete(2)

    def __init__(self, render_mode=None, drawn=True):
        self.render_mode, self.drawn = render_mode, drawn

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.zeros(1, np.float32), 1.0, self.t == 3, False, {}

    def render(self):
        return np.full((33, 65, 3), 50 * self.t, np.uint8) if self.drawn else None


@pytest.fixture
def painter():
    gymnasium.register("Painter-v0", Painter)
    gymnasium.register("Blind-v0", Painter, kwargs={"drawn": False})
    yield "Painter-v0"
    del gymnasium.registry["Painter-v0"]
    del gymnasium.registry["Blind-v0"]


def grays(path) -> tuple[dict, list[float]]:
    frames = read_frames(str(path))
    about = next(frames)
    width, height = about["source_size"]
    shape = (height, width, 3)
    return about, [np.frombuffer(f, np.uint8).reshape(shape).mean() for f in frames]


def test_a_film_has_every_frame_of_the_seeded_episodes(painter, tmp_path):
    path = tmp_path / "new" / "out.mp4"
    with film(path) as video:
        env = filmed_env(painter, video)
        for seed in (1, 2):
            env.reset(seed=seed)
            for _ in range(3):
                env.step(0)
            env.reset()  # as a vector environment does, of itself
            env.step(0)
        env.close()
        assert not path.exists()
    about, frames = grays(path)
    assert about["fps"] == 20
    assert about["source_size"] == (66, 34)
    # The codec is allowed a little loss.
    assert np.allclose(frames, [0, 50, 100, 150] * 2, atol=6)


def test_a_film_that_fails_leaves_the_old_one(painter, tmp_path):
    path = tmp_path / "out.mp4"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), film(path) as video:
        filmed_env(painter, video).reset(seed=0)
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]
    assert path.read_text() == "old"


@pytest.mark.parametrize("name", ["out.avi", "out", "out.mp4.zip"])
def test_another_ending_is_refused(tmp_path, name):
    with pytest.raises(UserError, match=r"given '.*'; allowed: a file that ends in \.mp4"):
        film(tmp_path / name).__enter__()
    assert list(tmp_path.iterdir()) == []


def test_the_missing_library_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(UserError, match=r"pip install 'sb3-course\[video\]'"):
        film(tmp_path / "out.mp4").__enter__()


def test_an_environment_that_draws_nothing_is_refused(painter, tmp_path, monkeypatch):
    with (
        pytest.raises(
            UserError, match="Blind-v0 cannot be rendered here: render.. returns a NoneType"
        ),
        film(tmp_path / "a.mp4") as v,
    ):
        filmed_env("Blind-v0", v)
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(UserError, match="cannot be rendered here"), film(tmp_path / "a.mp4") as v:
        filmed_env("CartPole-v1", v)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({}, "its render modes: none"),
        ({"render_modes": None}, "its render modes: none"),
        ({"render_modes": ["ansi", "human"]}, "its render modes: ansi, human"),
        ({"render_modes": ["rgb_array_list"]}, "its render modes: rgb_array_list"),
    ],
)
def test_an_environment_without_images_is_refused_with_what_it_has(
    monkeypatch, tmp_path, recwarn, metadata, words
):
    """Its constructor need not take ``render_mode``; no other words come first."""

    class Words(Painter):
        def __init__(self):
            super().__init__()

    monkeypatch.setattr(Words, "metadata", metadata, raising=False)
    monkeypatch.setitem(gymnasium.registry, "Words-v0", EnvSpec("Words-v0", Words))
    with pytest.raises(UserError, match=words), film(tmp_path / "a.mp4") as v:
        filmed_env("Words-v0", v)
    assert not any("initialised with render_mode" in str(w.message) for w in recwarn.list)


def test_mujoco_draws_off_screen_where_there_is_none(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL", "SDL_VIDEODRIVER"):
        monkeypatch.setenv(name, "")  # restored at the end
        monkeypatch.delenv(name)
    use_no_screen()
    assert not has_screen()
    assert (os.environ["MUJOCO_GL"], os.environ["SDL_VIDEODRIVER"]) == ("egl", "dummy")
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    use_no_screen()
    assert os.environ["MUJOCO_GL"] == "osmesa"
    monkeypatch.setenv("DISPLAY", ":0")
    assert has_screen()
    monkeypatch.delenv("DISPLAY")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert has_screen()


def test_mujocos_camera_follows():
    env = gymnasium.make("HalfCheetah-v4", disable_env_checker=True)
    follow(env)
    renderer = env.unwrapped.mujoco_renderer
    assert renderer.model.camera(renderer.camera_id).name == "track"
    follow(gymnasium.make("CartPole-v1"))  # has none


@pytest.mark.slow
def test_mujoco_draws_every_episode(tmp_path):
    """Needs EGL. Two episodes, since a second renderer would draw black."""
    path = tmp_path / "out.mp4"
    with film(path) as video:
        env = filmed_env("HalfCheetah-v4", video)
        for seed in (0, 1):
            env.reset(seed=seed)
            for _ in range(20):
                env.step(env.action_space.sample())
            env.reset()
    about, frames = grays(path)
    assert len(frames) == 42
    assert about["fps"] == 20
    assert min(frames) > 50


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (
            np.zeros((33, 65, 3), np.float32),
            r"type float32 and shape \(33, 65, 3\); allowed: an RGB",
        ),
        (np.zeros((33, 65, 4), np.uint8), r"shape \(33, 65, 4\); allowed"),
        (np.zeros((33, 65, 1), np.uint8), r"shape \(33, 65, 1\); allowed"),
        (None, "render\\(\\) returns a NoneType instead of an RGB image"),
        (np.zeros((34, 65, 3), np.uint8), r"one size: \(34, 65\) after \(33, 65\)"),
    ],
)
def test_a_frame_that_is_no_image_or_of_another_size_is_refused(frame, said, tmp_path):
    with pytest.raises(UserError, match=said), film(tmp_path / "out.mp4") as video:
        video.add(np.zeros((33, 65, 3), np.uint8), 20)
        video.add(frame, 20)
    assert list(tmp_path.iterdir()) == []


def test_a_film_without_a_frame_is_told(painter, tmp_path):
    with (
        pytest.raises(UserError, match="no frame was recorded; does a wrapper's reset"),
        film(tmp_path / "out.mp4") as video,
    ):
        filmed_env(painter, video).reset()  # without a seed
    assert list(tmp_path.iterdir()) == []


def test_a_film_that_is_not_whole_is_told(tmp_path, monkeypatch):
    """As ffmpeg leaves one on a full disk, without an error of its own."""
    path, close = tmp_path / "out.mp4", Film.close

    def cut(self):
        close(self)
        self._path.write_bytes(self._path.read_bytes()[:500])

    monkeypatch.setattr(Film, "close", cut)
    with pytest.raises(UserError, match="cannot be written whole"), film(path) as video:
        video.add(np.zeros((34, 64, 3), np.uint8), 20)
    assert list(tmp_path.iterdir()) == []


def test_what_fails_to_render_in_the_middle_is_told(painter, tmp_path, monkeypatch):
    with (
        pytest.raises(UserError, match="render.. failed in the middle: ZeroDivisionError"),
        film(tmp_path / "out.mp4") as video,
    ):
        env = filmed_env(painter, video)
        env.reset(seed=0)
        monkeypatch.setattr(Painter, "render", lambda self: 1 / 0)
        env.step(0)
    assert list(tmp_path.iterdir()) == []


def test_what_renders_something_else_is_refused_before_an_episode(painter, tmp_path, monkeypatch):
    monkeypatch.setattr(Painter, "render", lambda self: np.zeros((33, 65, 4), np.uint8))
    with (
        pytest.raises(UserError, match=r"Painter-v0 cannot be rendered here: .*\(33, 65, 4\)"),
        film(tmp_path / "out.mp4") as video,
    ):
        filmed_env(painter, video)


def test_a_folder_is_no_video(tmp_path):
    (tmp_path / "out.mp4").mkdir()
    with pytest.raises(UserError, match="is a folder; allowed: a file"):
        film(tmp_path / "out.mp4").__enter__()


def test_an_environment_may_leave_its_frames_per_second_open(painter, monkeypatch):
    monkeypatch.setattr(Painter, "metadata", {**Painter.metadata, "render_fps": None})
    assert frames_per_second(gymnasium.make(painter)) == DEFAULT_FPS


class Dicts(Painter):
    observation_space = spaces.Dict({"image": spaces.Box(-1, 1, (1,))})

    def reset(self, seed=None, options=None):
        obs, info = super().reset(seed=seed)
        return {"image": obs}, info

    def step(self, action):
        obs, *others = super().step(action)
        return {"image": obs}, *others


class Matrices(Painter):
    action_space = spaces.Box(-1, 1, (2, 3))

    def step(self, action):
        assert action in self.action_space
        return super().step(0)


def test_flat_actions_get_the_shape_of_the_space(tmp_path):
    gymnasium.register("Matrices-v0", Matrices)
    try:
        player = {"one": lambda obs: np.full((1, 6), 2.0, np.float32)}
        record(player, EnvConfig("Matrices-v0"), tmp_path / "a.mp4", seconds=1.0, size=64)
    finally:
        del gymnasium.registry["Matrices-v0"]
    assert (tmp_path / "a.mp4").exists()


@pytest.mark.parametrize(("fps", "frames"), [(20, 40), (30, 60), (50, 50), (100, 50)])
def test_players_are_filmed_at_the_speed_of_their_environment(fps, frames, tmp_path, monkeypatch):
    """Two seconds of it take two seconds, however many frames it renders."""

    class Paced(Painter):
        metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": fps}

        def step(self, action):
            return *super().step(action)[:2], False, False, {}

        def render(self):
            return np.zeros((33, 65, 3), np.uint8)

    added = []
    monkeypatch.setattr(Film, "add", lambda self, frame, fps: added.append(fps))
    gymnasium.register("Paced-v0", Paced)
    try:
        player = {"one": lambda obs: np.zeros(1, np.int64)}
        with suppress(UserError):  # a film without a frame
            record(player, EnvConfig("Paced-v0"), tmp_path / "a.mp4", seconds=2.0, size=64)
    finally:
        del gymnasium.registry["Paced-v0"]
    assert len(added) == pytest.approx(frames, abs=1)
    assert len(added) / added[0] == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(("env_id", "shape"), [("FrozenLake-v1", (1,)), ("Dicts-v0", (1, 1))])
def test_players_of_any_observations_are_filmed(env_id, shape, tmp_path):
    seen = []

    def player(obs):
        seen.append(np.shape(obs["image"] if isinstance(obs, dict) else obs))
        return np.zeros(1, np.int64)

    gymnasium.register("Dicts-v0", Dicts)
    try:
        record({"one": player}, EnvConfig(env_id), tmp_path / "a.mp4", seconds=1.0, size=64)
    finally:
        del gymnasium.registry["Dicts-v0"]
    assert (tmp_path / "a.mp4").exists() and set(seen) == {shape}


def test_a_missing_ffmpeg_is_told_before_anything_is_played(tmp_path, monkeypatch):
    def missing():
        raise RuntimeError("No ffmpeg exe could be found")

    monkeypatch.setattr("imageio_ffmpeg.get_ffmpeg_exe", missing)
    with pytest.raises(UserError, match="--video needs ffmpeg: No ffmpeg exe"):
        check_video(tmp_path / "a.mp4")
