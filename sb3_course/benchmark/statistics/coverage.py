"""What 95% intervals of few runs cover: less than they say.

The percentile bootstrap resamples the runs that there are, whose spread is smaller than that of the
law they come from, by a factor of (n - 1) / n, and whose tails are cut off. The frequencies here
are those of ``results/statistics/coverage.csv``, which ``benchmarks/statistics/simulate.py`` makes.
"""

ENOUGH = 20
"""Number of runs from which on no caveat is printed."""
MEAN = {3: (0.75, 0.69, 0.47), 5: (0.85, 0.76, 0.67), 10: (0.92, 0.86, 0.89)}
"""Frequency with which the interval of a mean contains the true one, by the number of runs: for
normal returns, for exponential ones, and for runs that succeed (1) or fail (0), 4 of 5."""


def covered(n_runs: int) -> str:
    """Return what intervals of few runs cover.

    :param n_runs: Smallest number of runs of an estimate
    :return: Sentence; empty from :data:`ENOUGH` runs on, or for a single run, which has no interval
    """
    if not 1 < n_runs < ENOUGH:
        return ""
    simulated = max((n for n in MEAN if n <= n_runs), default=min(MEAN))
    normal, skewed, binary = MEAN[simulated]
    return (
        f"A 95% bootstrap interval of the mean of {simulated} runs holds the true mean in "
        f"{normal:.0%} of cases if returns are normal, {skewed:.0%} if they are exponential and "
        f"{binary:.0%} if runs succeed or fail."
    )


def caveat(n_runs: int) -> str:
    """Return what to keep in mind about intervals of few runs.

    :param n_runs: Smallest number of runs of an estimate
    :return: Sentence; empty from :data:`ENOUGH` runs on, or for a single run, which has no interval
    """
    known = covered(n_runs)
    narrow = f"Those of {n_runs} runs here are too narrow, too; the tests do not rely on them."
    return known and f"{known} {narrow}"
