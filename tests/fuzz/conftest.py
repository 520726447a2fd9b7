"""Random and damaged input, of which `make fuzz` tries many thousands and `make test` a few."""

import os

import pytest
from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "25"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Set the number of examples, of the tests in this folder alone."""
    for item in items:
        function = getattr(item, "function", None)
        if "fuzz" in item.path.parts and hasattr(function, "hypothesis"):
            settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))(
                function
            )
