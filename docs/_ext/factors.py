"""The study of what separates one run of DAgger from another, as Markdown and as a drawing."""

import json
from functools import cache
from typing import Any

import imitation_factors as study
import numpy as np
import pandas as pd
from facts import ROOT, table
from matplotlib.figure import Figure
from scipy import stats

from sb3_course.benchmark.reporting.drawing import files

RUNS = study.OUT / "runs.jsonl"
SEEDS, EFFECTS = "Mean return of each seed", "Effect of a setting"


@cache
def runs() -> pd.DataFrame:
    """Return one row for each run: its choices, its seed and the returns of its episodes."""
    rows = []
    for line in RUNS.read_text().splitlines():
        stored = json.loads(line)
        run = stored["run"]
        returns = {name: np.array(stored[name]) for name in ("returns", "returns_sampled")}
        rows.append(
            {
                **run["choices"],
                "also": json.dumps(run["also"]),
                "seed": run["seed"],
                "mean": returns["returns"].mean(),
                "sampled": returns["returns_sampled"].mean(),
                "episodes": returns["returns"],
            }
        )
    return pd.DataFrame(rows)


@cache
def plan() -> dict[str, Any]:
    """Return the definition of the study."""
    return study.read_study()


def factorial() -> pd.DataFrame:
    """Return the runs of all combinations, of the seeds that every combination has."""
    found = runs()
    return found[(found["also"] == "{}") & (found["seed"] < plan()["seeds"])]


def interval(values: "pd.Series[float]") -> tuple[float, float, float]:
    """Return the mean and its 95% interval (Student's t).

    :param values: Independent numbers
    :return: Mean, lower and upper end
    """
    low, high = stats.t.interval(0.95, len(values) - 1, loc=values.mean(), scale=stats.sem(values))
    return float(values.mean()), float(low), float(high)


def effects(outcome: str = "mean") -> dict[str, tuple[float, float, float]]:
    """Return what the second choice of each setting changes, over all combinations of the others.

    :param outcome: ``mean``, or ``sampled`` for actions that are sampled in the evaluation
    :return: Mean change and its 95% interval, over pairs of runs of one seed, by setting
    """
    found, factors = factorial(), plan()["factors"]
    changes = {}
    for name, choices in factors.items():
        first, second = choices
        others = [*(other for other in factors if other != name), "seed"]
        by_choice = found.pivot_table(outcome, others, name)
        changes[name] = interval(by_choice[second] - by_choice[first])
    return changes


def combinations() -> dict[str, pd.DataFrame]:
    """Return the runs of the combinations that have more seeds, by name."""
    found, more = runs(), plan()["more"]["combinations"]
    chosen = {}
    for name, changes in more.items():
        wanted = study.first_choices(plan()) | {k: v for k, v in changes.items() if k != "settings"}
        mine = found["also"] == json.dumps(changes.get("settings", {}))
        for factor, choice in wanted.items():
            mine &= found[factor] == choice
        chosen[name] = found[mine].sort_values("seed")
    return chosen


def share(hits: "pd.Series[bool] | np.ndarray[Any, Any]") -> str:
    """Describe how many of several trials succeed, with the 95% interval of Clopper and Pearson."""
    k, n = int(np.sum(hits)), len(hits)
    low, high = stats.binomtest(k, n).proportion_ci(0.95)
    return f"{k} of {n} [{low:.1%}, {high:.1%}]"


def effects_table() -> str:
    """Write the effect of each setting, and how much of the gap it is."""
    notes, first = plan()["notes"], combinations()["first choices"]["mean"].mean()
    gap, sampled = notes - first, effects("sampled")
    rows = []
    for name, (mean, low, high) in effects().items():
        a, b = plan()["factors"][name]
        rows.append(
            [
                f"{name}: {a} → {b}",
                f"{mean:+,.0f} [{low:+,.0f}, {high:+,.0f}]",
                f"{mean / gap:+.0%} [{low / gap:+.0%}, {high / gap:+.0%}]",
                "{:+,.0f} [{:+,.0f}, {:+,.0f}]".format(*sampled[name]),
            ]
        )
    n = len(factorial()) // 2
    caption = (
        f"Each row compares {n} runs with {n} others that differ in this setting alone. The gap is "
        f"{gap:,.0f}, from the mean of the first choices, {first:,.0f}, to the notes' {notes:,}."
    )
    header = ["setting", "change of the return", "share of the gap", "with sampled actions"]
    return f"{table(header, rows)}\n\n{caption}"


def seeds_table() -> str:
    """Write the returns over seeds of the combinations that have more of them."""
    notes, rows = plan()["notes"], []
    for name, mine in combinations().items():
        mean, low, high = interval(mine["mean"])
        episodes = np.concatenate(mine["episodes"].tolist())
        rows.append(
            [
                name,
                f"{len(mine)}",
                f"{mean:,.0f} [{low:,.0f}, {high:,.0f}]",
                f"{mine['mean'].std():,.0f}",
                f"{mine['mean'].min():,.0f} to {mine['mean'].max():,.0f}",
                share(mine["mean"] >= notes),
                f"{np.sum(episodes >= notes)} of {len(episodes)}",
            ]
        )
    header = ["settings", "seeds", "mean", "deviation", "range", f"seeds ≥ {notes:,}"]
    return table([*header, f"episodes ≥ {notes:,}"], rows)


def expert_sentence() -> str:
    """Say how often the expert itself reaches what the notes' run does."""
    returns = np.array(json.loads((study.OUT / "manifest.json").read_text())["expert_returns"])
    return (
        f"The expert's own mean over {len(returns)} episodes is {returns.mean():,.0f}, and of its "
        f"episodes {share(returns >= plan()['notes'])} return {plan()['notes']:,} or more."
    )


def sampled_table() -> str:
    """Write the returns of the same policies with the mean action and with sampled ones."""
    rows = [
        [name, f"{mine['mean'].mean():,.0f}", f"{mine['sampled'].mean():,.0f}"]
        for name, mine in combinations().items()
    ]
    return table(["settings", "mean action", "sampled actions"], rows)


def variance_sentence() -> str:
    """Say how much of the variance of single runs the settings explain, and how much is left."""
    found, names = factorial(), list(plan()["factors"])
    codes = [pd.factorize(found[name], sort=True)[0] * 2.0 - 1 for name in names]
    design = np.column_stack([np.ones(len(found)), *codes])
    y = found["mean"].to_numpy()
    residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    explained = 1 - residual.var() / y.var()
    within = found.groupby(names)["mean"].var().mean() ** 0.5
    everywhere = share(found["mean"] >= plan()["notes"])
    return (
        f"Of the variance of single runs the five settings together explain {explained:.0%}; over "
        f"the seeds of one combination the deviation is {within:,.0f}. Of all runs of all "
        f"combinations, {everywhere} reach {plan()['notes']:,}."
    )


def stored_sentence() -> str:
    """Say how certain the mean of the five seeds of the first study is."""
    first = pd.read_csv(ROOT / "results" / "imitation" / "returns.csv")
    mine = first[(first["part"] == "homework") & (first["environment"] == plan()["environment"])]
    mine = mine[mine["method"] == "DAgger"]
    once = mine[mine["round"] == 1]["eval_mean_reward"]
    mean, low, high = interval(once)
    best = mine[mine["round"] > 0].groupby("seed")["eval_mean_reward"].max()
    return (
        f"The mean of the {len(once)} seeds is {mean:,.0f}, of numbers from {once.min():,.0f} to "
        f"{once.max():,.0f}: a 95% interval is {low:,.0f} to {high:,.0f}. The best of each "
        f"seed's six rounds is {best.min():,.0f} to {best.max():,.0f}: the best round is another "
        "number than that of round 1."
    )


PARTS = {
    "effects": effects_table,
    "seeds": seeds_table,
    "variance": variance_sentence,
    "stored": stored_sentence,
    "expert": expert_sentence,
    "sampled": sampled_table,
}


def part(name: str) -> str:
    """Write a part of the study.

    :param name: Name from :data:`PARTS`
    :return: Markdown
    :raises KeyError: There is no such part
    """
    return PARTS[name]()


def drawing() -> str:
    """Draw the seeds of the combinations with more of them, and the effects, as SVG."""
    notes, chosen, changes = plan()["notes"], combinations(), effects()
    with files.style(1.0):
        figure = Figure(figsize=(files.PAGE, 2.9), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
        for place, mine in enumerate(chosen.values()):
            jitter = np.linspace(-0.22, 0.22, len(mine))
            left.scatter(mine["mean"], place + jitter, s=9, alpha=0.6, color="#0173b2", linewidth=0)
            mean, low, high = interval(mine["mean"])
            error = [[mean - low], [high - mean]]
            left.errorbar(mean, place, xerr=error, fmt="o", ms=4, color=files.INK, capsize=3)
        left.axvline(notes, color=files.INK, linestyle="--", linewidth=1)
        left.set_yticks(range(len(chosen)), list(chosen))
        left.set(title=SEEDS, xlabel=f"Return (dashed: {notes:,})", xlim=(-150, None))
        for place, (mean, low, high) in enumerate(changes.values()):
            error = [[mean - low], [high - mean]]
            right.errorbar(mean, place, xerr=error, fmt="o", ms=4, color=files.INK, capsize=3)
        gap = notes - chosen["first choices"]["mean"].mean()
        right.axvline(0, color=files.RULE, linewidth=1)
        right.axvline(gap, color=files.INK, linestyle="--", linewidth=1)
        right.set_yticks(
            range(len(changes)), [f"{n}:\n{list(plan()['factors'][n])[1]}" for n in changes]
        )
        right.set(title=EFFECTS, xlabel="Change (dashed: the gap)")
        for axes, n in ((left, len(chosen)), (right, len(changes))):
            axes.set_ylim(n - 0.5, -0.5)
            axes.title.set_fontsize("medium")
        return files.drawn(figure, "imitation_factors")["imitation_factors.svg"].decode()
