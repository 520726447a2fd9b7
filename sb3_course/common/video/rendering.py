"""Environments that render images, with or without a screen."""

import os
import sys
from collections.abc import Callable
from typing import Any

import gymnasium

from sb3_course.common.errors import UserError, in_words
from sb3_course.common.evaluation import evaluation_env
from sb3_course.common.video.file import check_frame
from sb3_course.envs.config import EnvConfig, EnvId

DEFAULT_FPS = 30.0
"""Frames per second of an environment that does not declare any."""


def drawn_env(
    env: EnvConfig | EnvId,
    inside: Callable[[gymnasium.Env[Any, Any]], gymnasium.Env[Any, Any]] | None = None,
) -> gymnasium.Env[Any, Any]:
    """Make an environment whose ``render()`` returns images; MuJoCo's camera follows the body.

    :param env: Environment, with its settings
    :param inside: Further wrapper, below all others
    :return: Environment, already reset
    :raises UserError: If the environment renders no images here
    """
    check_renders(env)
    try:
        made = evaluation_env(env, inside, render_mode="rgb_array")
        follow(made)
        made.reset()
        check_frame(made.render())
    except Exception as error:
        name = EnvConfig.of(env).name
        raise UserError(f"{name} cannot be rendered here: {in_words(error)}") from error
    return made


def check_renders(env: EnvConfig | EnvId) -> None:
    """Check that an environment declares that it renders images, without rendering one.

    :param env: Environment, with its settings
    :raises UserError: If it does not, or cannot be made
    """
    use_no_screen()  # before MuJoCo is first imported, when it reads the choice
    name = EnvConfig.of(env).name
    try:
        modes = render_modes(env)
    except Exception as error:
        raise UserError(f"{name} cannot be rendered here: {in_words(error)}") from error
    if "rgb_array" not in modes:
        declared = ", ".join(modes) or "none"
        raise UserError(f"{name} renders no images (rgb_array); its render modes: {declared}")


def render_modes(env: EnvConfig | EnvId) -> list[str]:
    """Return the render modes that an environment declares.

    :param env: Environment, with its settings
    :return: Names of the modes
    """
    made = evaluation_env(env)
    made.close()
    return list(made.metadata.get("render_modes") or [])


def frames_per_second(env: gymnasium.Env[Any, Any]) -> float:
    """Return an environment's frames per second.

    :param env: Environment
    :return: Declared frames per second, or :data:`DEFAULT_FPS`
    """
    return float(env.metadata.get("render_fps") or DEFAULT_FPS)


def follow(env: gymnasium.Env[Any, Any]) -> None:
    """Make MuJoCo's camera follow the body, which Gymnasium 1.4 does not do.

    :param env: Any environment; only a MuJoCo task whose model has a camera ``track`` is changed
    """
    renderer = getattr(env.unwrapped, "mujoco_renderer", None)
    if renderer is not None and renderer.camera_id == -1:
        import mujoco

        camera = mujoco.mjtObj.mjOBJ_CAMERA
        renderer.camera_id = mujoco.mj_name2id(renderer.model, camera, "track")


def use_no_screen() -> None:
    """Make MuJoCo and pygame render without a screen if there is none, unless the user chose how.

    pygame would print that ``XDG_RUNTIME_DIR`` is not set, too.
    """
    if not has_screen():
        os.environ.setdefault("MUJOCO_GL", "egl")
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")


def has_screen() -> bool:
    """Return whether windows can be opened."""
    if sys.platform != "linux":
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
