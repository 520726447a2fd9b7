"""The measured effect of implementation details, from the stored grid of ablations, as Markdown."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pandas as pd
from facts import ROOT, table
from scipy import stats

FOLDER = ROOT / "results" / "ablations"
GRID = "benchmarks/ablations.yaml"
BASELINE = "NPG"
NOT_YET = f"Not yet measured; `sb3-course run {GRID}` measures it."


@cache
def final_returns(folder: Path) -> dict[tuple[str, str], list[float]]:
    """Return the returns of the last evaluation of each run.

    :param folder: Folder of the results
    :return: Returns, one per seed, by algorithm and environment; empty without results
    """
    path = folder / "returns.csv"
    if not path.exists():
        return {}
    stored = pd.read_csv(path)
    last = stored.loc[stored.groupby(["algorithm", "environment", "seed"])["step"].idxmax()]
    grouped = last.groupby(["algorithm", "environment"], sort=False)["return_mean"]
    return {(str(a), str(e)): values.tolist() for (a, e), values in grouped}


def difference(variant: list[float], baseline: list[float]) -> str:
    """Describe the difference of two means with its 95% interval (Welch's t).

    :param variant: Returns of the variant's runs
    :param baseline: Returns of the baseline's runs
    :return: Difference and interval, in bold where the interval does not hold 0; without an
        interval where either has one run
    """
    by = round(sum(variant) / len(variant) - sum(baseline) / len(baseline))
    if min(len(variant), len(baseline)) < 2:
        return f"{by:+,}"
    welch = stats.ttest_ind(variant, baseline, equal_var=False)
    low, high = welch.confidence_interval(0.95)
    text = f"{by:+,} [{round(low):+,}, {round(high):+,}]"
    return f"**{text}**" if low > 0 or high < 0 else text


def variants(found: Iterable[tuple[str, str]]) -> list[str]:
    """Return the details of the variants that are stored, without the baseline's name.

    :param found: Algorithms and environments
    :return: Details, in the order of the results
    """
    prefix = f"{BASELINE}, "
    names = dict.fromkeys(name for name, _ in found if name.startswith(prefix))
    return [name.removeprefix(prefix) for name in names]


def effect(details: str, folder: Path = FOLDER) -> str:
    """Describe the measured effect of one detail, or of several alternatives.

    :param details: Names of variants, without the baseline's, separated by ``/``
    :param folder: Folder of the results
    :return: Markdown
    """
    found = final_returns(folder)
    rows = effects([name.strip() for name in details.split("/")], found)
    return table(["instead", *environments(found)], rows) if rows else NOT_YET


def effects(names: list[str], found: dict[tuple[str, str], list[float]]) -> list[list[str]]:
    """Return a row for each variant that is stored.

    :param names: Names of variants, without the baseline's
    :param found: Returns of :func:`final_returns`
    :return: Rows of a table: the name, and the difference in each environment
    """
    rows = []
    for name in names:
        runs = [(found.get((f"{BASELINE}, {name}", e)), e) for e in environments(found)]
        if any(values for values, _ in runs):
            cells = [difference(v, found[BASELINE, e]) if v else "—" for v, e in runs]
            rows.append([name, *cells])
    return rows


def environments(found: Iterable[tuple[str, str]]) -> list[str]:
    """Return the environments in which the baseline has runs."""
    return [environment for name, environment in found if name == BASELINE]


def all_effects(_: str, folder: Path = FOLDER) -> str:
    """Describe the baseline, and the effect of every variant that is stored.

    :param folder: Folder of the results
    :return: Markdown
    """
    found = final_returns(folder)
    rows = effects(variants(found), found)
    if not rows:
        return NOT_YET
    cells = []
    for environment in environments(found):
        values = found[BASELINE, environment]
        seeds = f"{len(values)} seed{'s' * (len(values) > 1)}"
        cells.append(f"{sum(values) / len(values):,.0f} ({seeds})")
    return table(["", *environments(found)], [[f"{BASELINE} itself", *cells], *rows])
