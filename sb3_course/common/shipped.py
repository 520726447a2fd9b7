"""Files beside the code that come with it: the demonstration's grid and the experts."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
IN_WHEEL = PACKAGE / "shipped"
"""Where a wheel holds them; ``pyproject.toml`` names each."""


def shipped(path: str) -> Path:
    """Return a file or folder that comes with the package.

    :param path: Its path in a checkout of the project, such as ``benchmarks/demo.yaml``
    :return: Its place in the installed wheel, or in the checkout
    """
    inside = IN_WHEEL / path
    return inside if inside.exists() else PACKAGE.parent / path
