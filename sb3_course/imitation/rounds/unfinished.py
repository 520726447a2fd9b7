"""What is left of a round of DAgger that has been interrupted."""

from typing import TypedDict


class Unfinished(TypedDict):
    """A round whose data are in D, and whose training or evaluation has not ended.

    ==============  =============================================
    key             value
    ==============  =============================================
    ``facts``       what its collection has logged
    ``timesteps``   its time steps
    ``losses``      loss of each gradient step that was taken
    ==============  =============================================
    """

    facts: dict[str, float]
    timesteps: int
    losses: list[float]
