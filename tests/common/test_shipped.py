from pathlib import Path

import pytest

from sb3_course.common import shipped as module
from sb3_course.common.shipped import shipped

ROOT = Path(__file__).resolve().parents[2]


def test_a_checkout_has_its_own_files():
    assert shipped("benchmarks/demo.yaml") == ROOT / "benchmarks" / "demo.yaml"


def test_a_wheel_has_them_inside(monkeypatch, tmp_path):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "demo.yaml").touch()
    monkeypatch.setattr(module, "IN_WHEEL", tmp_path)
    assert shipped("benchmarks/demo.yaml") == tmp_path / "benchmarks" / "demo.yaml"


@pytest.mark.parametrize("path", ["benchmarks/demo.yaml", "results/experts"])
def test_what_is_asked_for_is_in_the_wheel(path):
    assert (ROOT / path).exists()
    assert f'"{path}" = "sb3_course/shipped/{path}"' in (ROOT / "pyproject.toml").read_text()
