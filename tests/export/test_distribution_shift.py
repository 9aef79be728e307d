"""The study of distribution shifts on the tiny run: its figures, what it reads back, what it refuses."""

from __future__ import annotations

import csv
import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from micro_yolo.model.quantization import shift
from micro_yolo.pipeline.store import runs

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
GRID: dict[str, Any] = {"bits": (2, 8), "blocks": ("4", "all"), "methods": ("l2", "kl")}


@pytest.fixture(scope="module")
def study() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    return importlib.import_module("distribution_shift")


@pytest.fixture(scope="module")
def weights_study(study: ModuleType, finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("study") / "out"
    return study.run(study.Config(out=out, run=finished_run, part="weights", **GRID))


def cells(out: Path) -> dict[str, Any]:
    return runs.read_json(out / "study.json")["cells"]


def test_errors_and_bytes_of_every_cell(weights_study: Path, weighted: Any) -> None:
    found = cells(weights_study)
    assert len(found) == 8
    for name, row in found.items():
        assert 0 < row["error"] < 1, name
        shapes = {layer.name: layer.get_weights()[0].shape for layer in weighted.layers if layer.name in row["layers"]}
        assert len(shapes) == sum("kernel" in weight.name for weight in weighted.weights)
        expected = 0
        for layer, shape in shapes.items():
            depthwise = layer.endswith("_dw")
            kernel = (*shape[:2], 1, shape[2]) if depthwise else shape
            expected += shift.stored_bytes(kernel, row["bits"], None if depthwise else row["block"])
        assert row["bytes"] == expected
    error = {name: row["error"] for name, row in found.items()}
    assert error["l2-8-4"] < error["l2-8-all"] < error["l2-2-4"] < error["l2-2-all"]
    assert error["l2-2-4"] <= error["kl-2-4"]
    assert error["l2-2-all"] <= error["kl-2-all"]


def test_the_error_is_that_of_folded_kernels(study: ModuleType, weighted: Any) -> None:
    from micro_yolo.model.keras import keras

    target = weighted.around(keras.models.clone_model(weighted))
    row = study._quantized(weighted, target, study.Cell("l2", 3, None))
    norm = weighted.get_layer("l4_dw_bn")
    cds = norm.gamma.numpy() / np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
    before, after = (model.get_layer("l4_dw").get_weights()[0][..., 0] * cds for model in (weighted, target))
    assert row["layers"]["l4_dw"] == pytest.approx(np.linalg.norm(after - before) / np.linalg.norm(before), rel=1e-5)
    for channel in target.get_layer("l7_conv").get_weights()[0].reshape(-1, 16).T:
        assert len(np.unique(channel)) <= 2**3
    np.testing.assert_array_equal(norm.get_weights(), target.get_layer("l4_dw_bn").get_weights())


def test_table_sheet_and_picture(study: ModuleType, weights_study: Path) -> None:
    with open(weights_study / "study.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["bits"], row["start"], row["block"]) for row in rows[:3]] == [
        ("2", "l2", "4"),
        ("2", "l2", "all"),
        ("2", "kl", "4"),
    ]
    assert (weights_study / "study.png").read_bytes().startswith(b"\x89PNG")
    done = runs.read_json(weights_study / "study.json")
    table = study._markdown(done)
    error = {name: f"{100 * row['error']:.2f}" for name, row in done["cells"].items()}
    assert table[2:8] == [
        "Weight error, %:",
        "",
        "| bits | start | block 4 | block all |",
        "| --- | --- | --- | --- |",
        f"| 2 | l2 | {error['l2-2-4']} | {error['l2-2-all']} |",
        f"| 2 | kl | {error['kl-2-4']} | {error['kl-2-all']} |",
    ]
    n_bytes = done["cells"]["l2-8-all"]["bytes"]
    less = done["float32"]["kernel_bytes"] / n_bytes
    assert table[-1].endswith(f"| {n_bytes / 1024:.0f} ({less:.1f}) |")
    assert not any("AP50" in line for line in table)


@pytest.mark.slow
def test_files_and_trained_shifts_are_measured_once(
    study: ModuleType, briefest_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {"run": briefest_run, "bits": (2,), "blocks": ("4",), "methods": ("l2",)}
    out = tmp_path / "out"
    study.run(study.Config(out=out, part="files", **asked))
    done = runs.read_json(out / "study.json")
    assert set(done["cells"]["l2-2-4"]["before"]) == {"AP50", "AP"}

    # What is there is not measured again, and says so.
    done["cells"]["l2-2-4"]["before"]["AP50"] = 12.34
    runs.write_json(out / "study.json", done)
    capsys.readouterr()
    config = study.Config(out=out, part="shifts", epochs=1, images=8, eval_images=4, **asked)
    study.run(config)
    row = cells(out)["l2-2-4"]
    assert row["before"]["AP50"] == 12.34
    assert 0 <= row["after"]["AP50"] <= 100
    assert f"| 2 | l2 | 12.3 / {row['after']['AP50']:.1f} |" in capsys.readouterr().out
    assert not list((out / "trainings").iterdir())

    trained_once = (out / "study.json").read_bytes()
    study.run(config)
    assert (out / "study.json").read_bytes() == trained_once
    with pytest.raises(ValueError, match=r"study.json: made with training .*epochs.* allowed: another --out"):
        study.run(study.Config(out=out, part="shifts", epochs=2, images=8, **asked))


@pytest.mark.slow
def test_points_are_those_of_a_file_with_these_weights(
    study: ModuleType, finished_run: Path, weighted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from micro_yolo.model.keras import keras
    from micro_yolo.pipeline.learn.loop import keras_predict
    from micro_yolo.pipeline.measure import metrics
    from micro_yolo.pipeline.store.finished import find

    seen = []

    def evaluate(predict: Any, *rest: Any, coding: str) -> Any:
        images = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), np.uint8)
        for predicted in (predict(images), keras_predict(coarse)(images)):
            seen.append([grid for grids in predicted.values() for grid in grids.values()])
        return {"AP50": 1.5, "AP": 0.5, "AP75": 0.0}, []

    coarse = weighted.around(keras.models.clone_model(weighted))
    study._quantized(weighted, coarse, study.Cell("l2", 2, None))
    measuring = study._Study(study.Config(out=tmp_path / "out", run=finished_run, part="files"), find(finished_run))
    monkeypatch.setattr(metrics, "evaluate_split", evaluate)
    assert measuring._measure(coarse) == {"AP50": 1.5, "AP": 0.5}
    for grid, expected in zip(*seen, strict=True):
        np.testing.assert_allclose(grid, expected, atol=1e-5)


def test_a_study_is_of_one_run(study: ModuleType, weights_study: Path, own_run: Path) -> None:
    from micro_yolo.model.build import build
    from micro_yolo.pipeline.store.finished import find

    before = (weights_study / "study.json").read_bytes()
    build(find(own_run).arch).save_weights(str(own_run / "train" / runs.WEIGHTS))
    with pytest.raises(ValueError, match=r"study.json: made with weights_sha256"):
        study.run(study.Config(out=weights_study, run=own_run, part="weights"))
    assert (weights_study / "study.json").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": (1,)}, "bits: .* from 2 to 8, got 1"),
        ({"blocks": ("0",)}, "blocks: .* got '0'"),
        ({"blocks": ("half",)}, "blocks: .* got 'half'"),
        ({"methods": ("l1",)}, "methods: unknown, got 'l1'; allowed: l2, kl"),
        ({"epochs": 0}, "epochs: must be at least 1, got 0"),
        ({"learning_rate": -1.0}, "learning_rate: must not be negative, got -1.0"),
        ({"eval_images": 0}, "eval_images: must be at least 1, got 0"),
    ],
)
def test_grids_that_cannot_be(
    study: ModuleType, finished_run: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        study.run(study.Config(out=tmp_path / "out", run=finished_run, **options))
    assert not (tmp_path / "out").exists()
