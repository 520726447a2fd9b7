import pytest
import yaml

from sb3_course.cli import app
from sb3_course.cli.parts import terminal
from tests.benchmark.helpers import content


@pytest.fixture
def grid(tmp_path, monkeypatch):
    """Write ``grid.yaml`` to a new working directory."""
    monkeypatch.chdir(tmp_path)

    def write(**changes):
        (tmp_path / "grid.yaml").write_text(yaml.safe_dump(content(**changes)))
        return "grid.yaml"

    return write


@pytest.fixture
def misused(capsys):
    """Return the one line that a wrong command line is answered with."""

    def run(words):
        assert app.invoke(words) == terminal.MISUSED
        (line,) = capsys.readouterr().err.strip().splitlines()
        return line

    return run
