"""What another program found, measured by the measure of ours."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from micro_yolo.pipeline.data import load, synthetic

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import coco_results


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.make(tmp_path_factory.mktemp("drawn") / "set", train=2, val=4, size=(64, 64), seed=0)


def right(data: Path) -> list[dict[str, Any]]:
    """All boxes as another program would write them."""
    split = load(data).splits["val"]
    found = []
    for index, file in enumerate(split.files):
        for row in range(split.rows(index).start, split.rows(index).stop):
            left, top, *end = split.boxes_xyxy[row].tolist()
            bbox = [left, top, end[0] - left, end[1] - top]
            number = int(split.classes[row]) + 1
            found.append({"image_id": file.stem, "category_id": number, "bbox": bbox, "score": 0.9})
    return found


def measured(data: Path, folder: Path, records: object) -> dict[str, Any]:
    (folder / "results.json").write_text(json.dumps(records))
    return coco_results.measured(coco_results.Config(data=data, results=folder / "results.json"))


def test_what_is_right_is_right_and_what_is_not_is_not(data: Path, tmp_path: Path) -> None:
    assert measured(data, tmp_path, right(data))["AP50"] == pytest.approx(100)
    wrong = [{**record, "bbox": [0, 0, 1, 1]} for record in right(data)]
    assert measured(data, tmp_path, wrong)["AP50"] == pytest.approx(0, abs=0.1)


def test_a_name_that_became_a_number_is_found_by_its_file(data: Path, tmp_path: Path) -> None:
    numbered = [{**record, "image_id": 7, "file_name": f"{record['image_id']}.jpg"} for record in right(data)]
    assert measured(data, tmp_path, numbered)["AP50"] == pytest.approx(100)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"image_id": "nothing"}, "a picture or a class that"), ({"category_id": 99}, "99"), ({"category_id": 0}, ", 0")],
)
def test_what_is_not_there_is_named(data: Path, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=r"results\.json: must be results in COCO's format") as refused:
        measured(data, tmp_path, [{**right(data)[0], **change}])
    assert said in str(refused.value)


def test_what_is_no_list_of_records_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"results\.json: must be results in COCO's format"):
        measured(data, tmp_path, [1])
