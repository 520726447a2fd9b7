import gymnasium
import pytest


@pytest.fixture(autouse=True)
def envpools_own(monkeypatch):
    """A page's example registers an environment with the name of one that EnvPool has."""
    monkeypatch.delitem(gymnasium.registry, "Parking-v0", raising=False)
