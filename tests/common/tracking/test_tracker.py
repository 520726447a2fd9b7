import importlib
import sys

import pytest

from sb3_course.common.errors import UserError
from sb3_course.common.tracking.tracker import TRACKERS, check_trackers, flat


def test_an_unknown_tracker_is_refused():
    with pytest.raises(UserError, match="unknown tracker 'wanbd'; did you mean 'wandb'"):
        check_trackers(["tensorboard", "wanbd"])


@pytest.mark.parametrize("name", TRACKERS)
def test_a_missing_tracker_names_its_extra(name, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.invalidate_caches()
    with pytest.raises(UserError, match=rf"pip install 'sb3-course\[{name}\]'"):
        check_trackers([name])
    (tmp_path / name).mkdir()  # where W&B keeps its runs
    importlib.invalidate_caches()
    with pytest.raises(UserError, match=rf"--track {name} needs {name}"):
        check_trackers([name])
    (tmp_path / name / "__init__.py").touch()
    importlib.invalidate_caches()
    check_trackers([name])


def test_settings_have_the_names_of_their_places():
    config = {"algo": "NPG", "params": {"policy_kwargs": {"net_arch": [8]}, "gamma": 0.9}, "k": {}}
    assert flat(config) == {
        "algo": "NPG",
        "params.policy_kwargs.net_arch": [8],
        "params.gamma": 0.9,
        "k": {},
    }
