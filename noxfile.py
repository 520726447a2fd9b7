"""The versions that are supported, each in an environment of its own: `make test-matrix`.

uv makes the environments. The CPU build of PyTorch is enough, which uv takes from its own index
if the variable UV_TORCH_BACKEND is cpu. A Python that is not on the machine is skipped.
"""

from pathlib import Path

import nox

nox.needs_version = ">=2024.4"
nox.options.default_venv_backend = "uv|venv"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_existing_virtualenvs = True

PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
IMITATION = "imitation==1.0.1"
"""Without its dependencies, whose caps would hold Gymnasium at 0.29; the tests read files that it
saves with datasets and jsonpickle."""
TESTS = ["hypothesis>=6.100", "pytest>=8.2", "pytest-xdist>=3.6", "datasets>=2.8", "jsonpickle>=3"]
ENV = {"OMP_NUM_THREADS": "1", "MUJOCO_GL": "egl"}
WITHOUT_OVERRIDES = {"UV_NO_CONFIG": "1"}
"""uv would apply what pyproject.toml overrides in the environment of this checkout."""


@nox.session(python=PYTHONS)
def newest(session: nox.Session) -> None:
    """Run the fast tests with the newest release of every dependency."""
    session.install(".[all]", *TESTS, env=WITHOUT_OVERRIDES)
    session.install("--no-deps", IMITATION)
    test(session)


@nox.session(python=PYTHONS[:2])
def oldest(session: nox.Session) -> None:
    """Run the fast tests with the oldest SB3 and Gymnasium that are supported."""
    oldest = ("stable-baselines3==2.7.0", "sb3-contrib==2.7.0", "gymnasium==1.0.0")
    session.install(".[all]", *TESTS, *oldest, env=WITHOUT_OVERRIDES)
    session.install("--no-deps", IMITATION)
    test(session)


@nox.session(python=PYTHONS[:2])
def trackers_and_zoo(session: nox.Session) -> None:
    """Run the tests of RL Zoo and of all trackers, Trackio included, each of the newest release."""
    extras = "zoo,wandb,mlflow,trackio,mujoco,box2d,benchmark,video,tensorboard"
    session.install(f".[{extras}]", *TESTS, env=WITHOUT_OVERRIDES)
    session.run("python", "-m", "pytest", "-q", "tests/zoo", "tests/common/tracking", env=ENV)


@nox.session(python=PYTHONS[:2], venv_backend="venv")
def wheel(session: nox.Session) -> None:
    """Install the wheel alone with pip, and use it in another folder, as a new user does."""
    folder = Path(session.create_tmp()).resolve()
    session.install("build")
    session.run("python", "-m", "build", "--wheel", "--outdir", str(folder), ".", silent=True)
    (built,) = folder.glob("*.whl")
    session.install(str(built))
    with session.chdir(folder):
        command = ("sb3-course", "train", "NPG", "CartPole-v1", "--timesteps", "20_000")
        session.run(*command, "-p", "target_kl=0.02")
        session.run("sb3-course", "enjoy", "model.zip")
        session.install(f"{built}[mujoco,benchmark]")
        session.install("--no-deps", IMITATION)
        session.run("sb3-course", "imitate", "Hopper-v4")
        session.run("sb3-course", "demo", "--help", silent=True)
    built.unlink()


def test(session: nox.Session) -> None:
    """Run the fast tests; returns are compared exactly only where they were stored."""
    words = ("-q", "-n", "2", "-m", "not slow", *session.posargs)
    session.run("python", "-m", "pytest", *words, env=ENV)
