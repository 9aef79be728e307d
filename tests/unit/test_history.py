from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from micro_yolo.pipeline.store import history

ROWS: list[dict[str, Any]] = [
    {"epoch": 1, "images": 8, "learning_rate": 1e-3, "total": 3.0, "other": 0.1, "gradient_norm": 1.0, "AP": None},
    {"epoch": 2, "images": 8, "learning_rate": 1 / 3, "total": 2.0, "other": 0.2, "gradient_norm": 2.0, "AP": 12.5},
]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    found = history.read(history.write(tmp_path / "history.csv", ROWS))
    assert found == ROWS
    assert [type(row["epoch"]) for row in found] == [int, int] and type(found[0]["total"]) is float


def test_none_is_empty(tmp_path: Path) -> None:
    assert history.read(tmp_path / "history.csv") == []


@pytest.mark.parametrize("text", ["epoch,total\n1,many\n", "epoch,total\n1.5,2\n", "epoch,total\n1\n", "epoch\n1,2\n"])
def test_what_is_no_history_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"history\.csv: must be numbers, got ") as refused:
        history.read(path)
    assert "\n" not in str(refused.value)


def test_the_losses_are_what_is_no_other_column() -> None:
    assert history.losses_of(ROWS[0]) == ["total", "other"]
