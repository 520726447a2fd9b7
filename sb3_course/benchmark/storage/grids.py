"""A grid that has been run, and the store of its results: found by the grid, or by the folder."""

from pathlib import Path

from sb3_course.benchmark.definition.grid import Grid, load_grid
from sb3_course.benchmark.definition.yaml_source import GridSource
from sb3_course.benchmark.storage.manifest import NAME, read_manifest
from sb3_course.benchmark.storage.rounds import read_rounds, with_rounds
from sb3_course.benchmark.storage.store import Store
from sb3_course.common.errors import UserError
from sb3_course.common.files import remove_abandoned

RESULTS = Path("results")
TUNING = "tuning"
"""Folder in that of a grid's results, where `sb3-course tune` keeps its own."""
JOURNAL = "journal.log"
"""Name of the file there that tells it from a grid's results."""


def stored_grid(grid: GridSource, results: str | Path) -> Grid:
    """Read a grid, with the seeds that ``run --until-settled`` has added to its algorithms.

    :param grid: Grid file, or its content as a mapping
    :param results: Folder of all results, with a subfolder for each grid
    :return: Grid whose runs are all that have been started
    :raises GridError: If the grid has mistakes
    """
    loaded = load_grid(grid)
    return with_rounds(loaded, read_rounds(Path(results) / loaded.name))


def stored_results(grid: Grid, results: str | Path = RESULTS) -> Store:
    """Return the store of a grid that has been run.

    :param grid: Grid
    :param results: Folder of all results, with a subfolder for each grid
    :return: Store of its results
    :raises UserError: If there are none
    """
    folder = Path(results) / grid.name
    store = Store(folder)
    if not folder.is_dir() or {path.name for path in folder.iterdir()} == {TUNING}:
        raise UserError(f"no results in {folder}; run `sb3-course run` or run_grid() first")
    remove_abandoned(folder)
    return store


def grid_in(folder: Path) -> Grid | None:
    """Return the grid whose results a folder holds.

    :param folder: Folder, ``results/GRID``
    :return: Grid whose runs are all that have been started; None if there is no manifest
    :raises UserError: The manifest is damaged, or of another version
    """
    content = (read_manifest(folder) or {}).get("grid")
    if not content:
        return None
    try:
        grid = load_grid(content)
    except UserError as error:
        raise UserError(f"{folder / NAME}: its grid is of another version: {error}") from error
    return with_rounds(grid, read_rounds(folder))
