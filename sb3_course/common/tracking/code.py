"""Commit of this package and versions of what it stands on."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "sb3-course",
    "stable-baselines3",
    "sb3-contrib",
    "torch",
    "numpy",
    "gymnasium",
    "mujoco",
    "envpool",
    "rliable",
)


def versions() -> dict[str, str | None]:
    """Return the version of Python and of each package that numbers depend on."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def git_commit() -> str | None:
    """Return the commit of this package's checkout, marked if files differ, or None outside one.

    Files in ``results/`` are ignored, since a grid's own report changes them, but no code.
    """
    folder = Path(__file__).resolve().parents[3]
    return commit_of(folder) if (folder / ".git").exists() else None


def commit_of(folder: Path) -> str | None:
    """Return the commit of the checkout that a folder is in, marked if files differ, or None.

    :param folder: Folder inside the checkout
    :return: Commit, with ``-dirty`` if tracked files outside ``results/`` differ from it
    """
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        tracked = ["status", "--porcelain", "--untracked-files=no", "--"]
        changed = _git(folder, *tracked, ".", ":(exclude)results")
        return commit + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()
