"""What a search found: a line for each candidate, best first, as JSON, as a sheet and as a table. No TensorFlow."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from micro_yolo.pipeline.show.listing import listing
from micro_yolo.pipeline.store import runs

if TYPE_CHECKING:
    from rich.table import Table

    from micro_yolo.model.spec import Arch

RANKING, SHEET = "search.json", "search.csv"

# What search.json says of one: `blank` with what it reached.
Candidate = dict[str, Any]


def ranked(results: Sequence[Candidate]) -> list[Candidate]:
    """Best first: by AP50, then AP, then fewer MACs; failed ones last."""
    return sorted(
        results,
        key=lambda each: (each["AP50"] is None, -(each["AP50"] or 0.0), -(each["AP"] or 0.0), each["macs"]),
    )


def blank(key: str, table: Arch, rows: Sequence[str]) -> Candidate:
    """A candidate of which nothing is known yet."""
    from micro_yolo.model.count import count

    total = count(table)
    return {
        "key": key,
        "kernels": {name: table.row(name).k for name in rows},
        "params": total.params,
        "macs": total.macs,
        "AP50": None,
        "AP": None,
        "epoch": None,
        "seconds": None,
        "error": None,
    }


def known(stage: Path, tables: Mapping[str, Arch], rows: Sequence[str]) -> dict[str, Candidate]:
    """A result for every candidate, those measured before with what they reached. ValueError for a damaged file."""
    results = {key: blank(key, table, rows) for key, table in tables.items()}
    file = stage / RANKING
    if file.is_file():
        recorded = runs.read_json(file)
        try:
            before = {each["key"]: each for each in recorded["candidates"] if each["AP50"] is not None}
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{file}: must be the ranking of a search, got {type(error).__name__}: {error}; remove it, and "
                "--resume measures the trained candidates again"
            ) from None
        results |= {key: before[key] for key in results if key in before}
    return results


def write(stage: Path, results: Iterable[Candidate], rows: Sequence[str], kernels: Sequence[int]) -> None:
    """The ranking so far, as JSON and as a sheet."""
    order = ranked(list(results))
    runs.write_json(stage / RANKING, {"rows": rows, "kernels": kernels, "candidates": order})
    text = io.StringIO()
    columns = [name for name in order[0] if name != "kernels"]
    sheet = csv.DictWriter(text, [*columns, *rows])
    sheet.writeheader()
    sheet.writerows({**{name: each[name] for name in columns}, **each["kernels"]} for each in order)
    runs.write_atomic(stage / SHEET, text.getvalue())


def table(found: Sequence[Candidate]) -> Table:
    """The ranking as a rich table."""
    from rich.markup import escape

    rows = tuple(found[0]["kernels"])
    made = listing("", *rows, "params", "MMAC", "AP50", "AP", "epoch", "s", "", words=(-1,))
    for rank, each in enumerate(found, 1):
        made.add_row(
            str(rank) if each["AP50"] is not None else "",
            *(str(each["kernels"][name]) for name in rows),
            f"{each['params']:,}",
            f"{each['macs'] / 1e6:,.1f}",
            *("-" if each[name] is None else f"{each[name]:.1f}" for name in ("AP50", "AP")),
            "-" if each["epoch"] is None else str(each["epoch"]),
            "-" if each["seconds"] is None else f"{each['seconds']:.0f}",
            escape(each["error"] or ""),
        )
    return made
