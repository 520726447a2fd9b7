import os
import subprocess

import numpy as np
import pytest

from sb3_course.common.tracking import code

NOBODYS = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
"""Git without a user's settings, such as signed commits and hooks."""


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with a module and stored results, in which the package seems to be."""
    for name in ("sb3_course/common/tracking/code.py", "results/classic/returns.csv"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("old")
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True, env=NOBODYS)
    module = tmp_path / "sb3_course" / "common" / "tracking" / "code.py"
    monkeypatch.setattr(code, "__file__", str(module))
    return tmp_path


def test_results_leave_a_checkout_as_it_was_and_code_does_not(checkout):
    commit = code.git_commit()
    assert commit is not None and len(commit) == 40
    (checkout / "results" / "classic" / "returns.csv").write_text("new")
    (checkout / "results" / "classic" / "report.html").write_text("new")
    assert code.git_commit() == commit
    (checkout / "sb3_course" / "common" / "tracking" / "code.py").write_text("new")
    assert code.git_commit() == commit + "-dirty"


def test_no_checkout_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(code, "__file__", str(tmp_path / "a" / "b" / "c" / "code.py"))
    assert code.git_commit() is None


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr(code, "PACKAGES", ("numpy", "no-such-package"))
    found = code.versions()
    assert found["numpy"] == np.__version__
    assert found["no-such-package"] is None
