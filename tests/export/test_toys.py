"""What a head, an operation, a reader and a target cost: a file each, which is here, and the line that these tests add.

The whole way: labelled pictures -> train -> quantization-aware training -> int8 file -> detections.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import toy_head
import toy_op
import toy_reader
import toy_target

from micro_yolo.model import heads as trained_heads
from micro_yolo.model.ops import OPS
from micro_yolo.model.row import Row
from micro_yolo.model.spec import Arch
from micro_yolo.pipeline import convert, evaluate, qat, summary, train
from micro_yolo.pipeline.data import load, loader, synthetic
from micro_yolo.pipeline.data.strength import Strength
from micro_yolo.pipeline.learn.recipe import Recipe
from micro_yolo.pipeline.measure import exactness
from micro_yolo.pipeline.store import runs
from micro_yolo.pipeline.store.finished import find
from micro_yolo.tflite import heads as coded_heads
from micro_yolo.tflite.detector import Detector
from micro_yolo.tflite.image import load_image, resize
from micro_yolo.tflite.targets import TARGETS

pytestmark = pytest.mark.slow
SIZE = (64, 64)
STILL = Strength(mosaic=0, flip=0, scale=0, aspect=0, shift=0, hue=0, saturation=0, brightness=0, contrast=0)


@pytest.fixture(scope="module", autouse=True)
def lines() -> Iterator[None]:
    """The lines that the toys cost."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(trained_heads.HEADS, "cells", toy_head.Cells())
        patch.setitem(coded_heads.CODINGS, toy_head.NAME, toy_head.CellSides())
        patch.setitem(OPS, "hourglass", toy_op.HOURGLASS)
        patch.setitem(TARGETS, "hexadecimal", toy_target.Hexadecimal())
        patch.setattr(loader, "READERS", [toy_reader.READER, *loader.READERS])
        yield


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn shapes, labelled as the toy reader wants it; all of one class, to be learned in seconds."""
    root = tmp_path_factory.mktemp("toys") / "pictures"
    drawn = load(synthetic.make(root, train=24, val=4, size=SIZE, seed=0)).splits["train"]
    with open(root / toy_reader.FILE, "w") as file:
        for i, path in enumerate(drawn.files):
            boxes = drawn.boxes_xyxy[drawn.rows(i)].tolist()
            line = {"picture": str(path.relative_to(root)), "objects": [["shape", *box] for box in boxes]}
            file.write(json.dumps(line) + "\n")
    return root


def table() -> Arch:
    """Of the toy operation and the toy head, once they are there."""
    return Arch(
        "of_toys",
        (
            Row("a", "conv", 16, k=3, s=2),  # 32
            Row("b", "conv", 16, k=3, s=2),  # 16
            Row("m", "hourglass", 16, k=3, mid=8, se=2),
            Row("c", "conv", 24, k=3, s=2),  # 8
            Row("d", "conv", 32, k=3, s=2),  # 4
            Row("rough", "cells"),
            Row("up", "upsample", s=2, src=("d",)),
            Row("cat", "concat", src=("up", "c")),
            Row("e", "conv", 24, k=3),
            Row("fine", "cells"),
        ),
        size=SIZE,
        classes=1,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """A run of the table, trained, and trained on as integers."""
    folder = tmp_path_factory.mktemp("toy")
    file = runs.write_json(folder / "table.json", table().to_json())
    trained = train.run(
        train.Config(
            data=pictures,
            arch=str(file),
            run=folder / "run",
            batch=4,
            recipe=Recipe(epochs=45, learning_rate=0.005, warmup_epochs=1, ema=0.9, evaluate_every=15),
            augment=STILL,
        )
    )
    short = Recipe(epochs=3, learning_rate=1e-3, weight_decay=0.0, warmup_epochs=0.5, ema=0.9)
    qat.run(qat.Config(run=trained.run, recipe=short, batch=4, samples=16, augment=STILL, distill=0.5))
    return trained.run


def test_the_whole_way(made: Path, pictures: Path) -> None:
    for head in ("detections", "raw"):
        convert.run(convert.Config(run=made, int8=True, head=head, target=("hexadecimal",), overwrite=True))
        file = made / "export" / f"model_int8{'' if head == 'detections' else '_raw'}.tflite"
        assert bytes.fromhex((made / "export" / "hexadecimal" / "run.hex").read_text()) == file.read_bytes()
    inside, raw = (Detector(made / "export" / f"model_int8{end}.tflite") for end in ("", "_raw"))
    dataset = load(pictures)
    assert (dataset.format, dataset.names) == ("lines", ("shape",))
    for file in dataset.splits["val"].files:
        image = load_image(file)
        found, decoded = inside.detect(image, 0.05), raw.detect(image, 0.05)
        np.testing.assert_allclose(found.scores, decoded.scores, atol=1e-4)
        np.testing.assert_allclose(found.boxes_xyxy, decoded.boxes_xyxy, atol=0.05)
    measured = evaluate.run(evaluate.Config(model=inside.path, data=pictures, split="train"))
    assert measured.metrics["AP50"] > 30
    # The grids of the raw file are those of training, bit for bit.
    stage = find(made, "qat")
    pixels = np.stack(
        [resize(load_image(file), stage.arch.size, stage.resize)[0] for file in dataset.splits["val"].files]
    )
    apart = exactness.steps_apart(
        exactness.outputs(raw.path.read_bytes(), pixels), exactness.said(stage.weighted(), pixels)
    )
    assert (len(apart) > 0) and apart.max() == 0


def test_the_loss_of_a_head_is_recorded_and_its_coding_travels(made: Path) -> None:
    config = runs.read_json(made / "qat" / runs.CONFIG)
    assert config["loss"] == {"sides": 4.0, "classes": 1.0}
    (file,) = convert.run(convert.Config(run=made, float32=True, head="raw")).files
    assert file.contract.coding == toy_head.NAME
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(coded_heads.CODINGS, toy_head.NAME)
        with pytest.raises(
            ValueError, match="coding: unknown, got 'cell-sides/1'; allowed for raw: yolo-sigmoid-exp4/1"
        ):
            Detector(file.path)


def test_the_command_of_the_tables_knows_both(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary.command(summary.Config(arch=(str(made / "train" / runs.ARCH),)))
    shown = capsys.readouterr().out
    assert "hourglass 3x3 mid 8 se 2" in shown
    assert "cells" in shown


def test_a_target_refuses_what_it_cannot_take(made: Path) -> None:
    with pytest.raises(ValueError, match="takes int8 files, got float32"):
        convert.run(convert.Config(run=made, float32=True, target=("hexadecimal",), out=made / "else"))
    assert not list((made / "else").glob("*"))
