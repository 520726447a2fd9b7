"""What the tests of stored results share."""

import pytest

from tests.benchmark import made_up


@pytest.fixture
def results(tmp_path):
    """Results of all runs of a made-up grid, each in a file of its own."""
    return made_up.written(tmp_path, made_up.results(made_up.grid()))
