"""Tables, figures and one self-contained page from the results of a grid."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from sb3_course.benchmark import plots, scores
from sb3_course.benchmark.grid import Grid
from sb3_course.benchmark.store import Store, tidy, write_whole

CAPTIONS = {
    "learning_curves": "mean over seeds of the mean evaluation return, with a 95% bootstrap "
    "interval over seeds",
    "iqm": "interquartile mean of normalised final scores (line) and its 95% stratified bootstrap "
    "interval (bar)",
}


def publish(grid: Grid, store: Store) -> Path:
    """Write ``returns.csv``, the figures and ``report.html`` from what the store holds.

    :param grid: the grid
    :param store: its results
    :return: the page
    """
    results = store.read(grid.runs())
    table = tidy(results)
    write_whole(store.folder / "returns.csv", table.to_csv(index=False))
    references = scores.load_references()
    final = scores.final_returns(table)
    normalised = scores.normalise(final, references)
    iqm = scores.iqm_table(normalised)
    drawn = draw(grid, table, iqm, store.folder / "figures") if len(table) else []
    done = {result.spec.id for result in results}
    scored = [name for name in grid.environments if name in set(normalised["environment"])]
    columns = [name for name in [*grid.environments, scores.ALL] if name in _column(iqm)]
    page = render(
        grid=grid,
        total=len(grid.runs()),
        finished=sum(result.failure is None for result in results),
        failures=[result for result in results if result.failure is not None],
        missing=[spec for spec in grid.runs() if spec.id not in done],
        returns=_returns(grid, final),
        scores=_scores(grid, iqm, columns),
        score_columns=columns,
        scored=scored,
        unscored=[name for name in grid.environments if name not in references.environments],
        references=references,
        reps=f"{scores.REPS:,}",
        figures=[_inline(store.folder / "figures", name) for name in drawn],
        manifest=read_manifest(store.folder),
        configuration=yaml.safe_dump(configuration(grid), sort_keys=False, allow_unicode=True),
    )
    write_whole(store.folder / "report.html", page)
    return store.folder / "report.html"


def draw(grid: Grid, table: pd.DataFrame, iqm: pd.DataFrame, folder: Path) -> list[str]:
    """Draw the figures.

    :param grid: the grid
    :param table: its tidy returns
    :param iqm: interquartile means, see :func:`~sb3_course.benchmark.scores.iqm_table`
    :param folder: where to write
    :return: names of the figures
    """
    names = list(grid.algorithms)
    present = [name for name in grid.environments if name in set(table["environment"])]
    plots.save(plots.learning_curves(table, present, names), folder, "learning_curves")
    if not len(iqm):
        return ["learning_curves"]
    plots.save(plots.iqm(iqm, present, names), folder, "iqm")
    return ["learning_curves", "iqm"]


def render(**content: Any) -> str:
    """Fill in the page's template; whatever is put in is escaped.

    :param content: what the template names
    """
    environment = Environment(
        loader=PackageLoader("sb3_course.benchmark", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("report.html.j2").render(**content) + "\n"


def configuration(grid: Grid) -> dict[str, Any]:
    """Return a grid as plain data with every default filled in.

    :param grid: the grid
    """
    data: dict[str, Any] = grid.model_dump(mode="json", by_alias=True)
    return data


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Read ``manifest.json``, if there is one.

    :param folder: ``results/GRID``
    """
    path = folder / "manifest.json"
    if not path.exists():
        return None
    manifest: dict[str, Any] = json.loads(path.read_text())
    return manifest


def _column(iqm: pd.DataFrame) -> set[str]:
    return set(iqm["environment"]) if len(iqm) else set()


def _inline(folder: Path, name: str) -> dict[str, str]:
    svg = (folder / f"{name}.svg").read_bytes()
    title = name.replace("_", " ").capitalize() if name != "iqm" else "Interquartile means"
    data = base64.b64encode(svg).decode()
    return {"title": title, "caption": CAPTIONS[name], "data": data}


def _returns(grid: Grid, final: pd.DataFrame) -> list[list[str]]:
    def cell(algorithm: str, environment: str) -> str:
        chosen = (final["algorithm"] == algorithm) & (final["environment"] == environment)
        values = final.loc[chosen, "return_mean"]
        if values.empty:
            return "–"  # noqa: RUF001
        spread = f" ± {values.std():,.1f}" if len(values) > 1 else ""
        return f"{values.mean():,.1f}{spread} ({len(values)})"

    return [[name, *(cell(name, env) for env in grid.environments)] for name in grid.algorithms]


def _scores(grid: Grid, iqm: pd.DataFrame, columns: Sequence[str]) -> list[list[str]]:
    def cell(algorithm: str, environment: str) -> str:
        rows = iqm[(iqm["algorithm"] == algorithm) & (iqm["environment"] == environment)]
        if rows.empty:
            return "–"  # noqa: RUF001
        row = rows.iloc[0]
        return f"{row['iqm']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"

    return [[name, *(cell(name, c) for c in columns)] for name in grid.algorithms if columns]
