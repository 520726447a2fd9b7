"""CSV files: tables, and logs, which may still be written."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sb3_course.benchmark.logs.points import LARGEST_LOG
from sb3_course.common.errors import UserError, unknown
from sb3_course.common.files import read_regular

MOST_COLUMNS = 1000
LONGEST_NAME = 200


@dataclass(frozen=True)
class CsvTable:
    """Content of a CSV file.

    :param comment: First line if it begins with ``#``, without that; else empty
    :param columns: Cells of each column, by its name
    :param lines: Number of each row's line in the file
    """

    comment: str
    columns: dict[str, list[str]]
    lines: list[int]

    @property
    def header(self) -> list[str]:
        """Names of the columns."""
        return list(self.columns)

    def text(self, column: str) -> list[str]:
        """Return the cells of a column.

        :param column: Name of the column
        :return: One text per row
        :raises UserError: There is no such column
        """
        if column not in self.columns:
            raise UserError(unknown("column", column, self.columns))
        return self.columns[column]

    def numbers(self, column: str, rows: Sequence[int] | None = None) -> list[float]:
        """Return the cells of a column as numbers.

        :param column: Name of the column
        :param rows: Indices of the rows to take, None for all
        :return: One number per row; ``nan`` and ``inf`` are numbers here
        :raises UserError: There is no such column, or a cell is no number
        """
        cells = self.text(column)
        found = []
        for k in range(len(cells)) if rows is None else rows:
            try:
                found.append(float(cells[k]))
            except ValueError:
                place = f"line {self.lines[k]}: {column}"
                raise UserError(f"{place}: given {cells[k][:60]!r}; allowed: a number") from None
        return found


def read_csv(path: Path, still_written: bool = False) -> CsvTable:
    """Read a CSV file.

    :param path: The file
    :param still_written: Whether it may still be written, as logs are: then a last line that has no
        end is left out, as it may be cut off
    :return: Its content
    :raises UserError: It is not one; gives the reason alone
    """
    try:
        text = read_regular(path, LARGEST_LOG).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError("no text file in UTF-8") from error
    except OSError as error:
        raise UserError(error.strerror or "unreadable") from error
    end = max(text.rfind("\n"), text.rfind("\r")) + 1
    whole = text[:end] if still_written or not text[end:].strip() else text
    comment = ""
    if whole.startswith("#"):
        comment, _, whole = whole[1:].partition("\n")
    return _parsed(whole, comment, offset=int(bool(comment)))


def _check_header(header: Sequence[str]) -> None:
    if len(header) > MOST_COLUMNS or len(set(header)) < len(header):
        raise UserError(
            f"{len(header):,} columns with {len(set(header)):,} different names; "
            f"allowed: 1 to {MOST_COLUMNS:,} columns with distinct names"
        )
    for name in header:
        if not (name.isprintable() and len(name) <= LONGEST_NAME):
            given = f"a column is named {name[:60]!r}"
            raise UserError(f"{given}; allowed: up to {LONGEST_NAME} printable characters")


def _parsed(text: str, comment: str, offset: int) -> CsvTable:
    reader = csv.reader(io.StringIO(text, newline=""))
    header, rows, lines = [], [], []
    try:
        header = next(reader, [])
        if not header:
            raise UserError("empty: not even the names of columns are in it")
        _check_header(header)
        for row in filter(None, reader):
            line = reader.line_num + offset
            if len(row) != len(header):
                raise UserError(f"line {line}: {len(row)} cells for {len(header)} columns")
            rows.append(row)
            lines.append(line)
    except csv.Error as error:
        raise UserError(f"line {reader.line_num + offset}: {error}") from error
    cells = zip(*rows, strict=True) if rows else [()] * len(header)
    columns = {name: list(column) for name, column in zip(header, cells, strict=True)}
    return CsvTable(comment, columns, lines)
