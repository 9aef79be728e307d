"""The study of distribution shifts on the tiny run: its figures, what it reads back, what it refuses."""

from __future__ import annotations

import csv
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from model import shift
from pipeline import runs

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "distribution_shift.py"
GRID: dict[str, Any] = {"bits": (2, 8), "blocks": ("4", "all"), "methods": ("l2", "kl")}


@pytest.fixture(scope="module")
def study() -> ModuleType:
    spec = importlib.util.spec_from_file_location("distribution_shift", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


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
            k, _, inputs, outputs = shape
            one = layer.endswith("_dw") or inputs == 1
            kernel = (k, k, 1, inputs) if layer.endswith("_dw") else shape
            expected += shift.stored_bytes(kernel, row["bits"], None if one else row["block"])
        assert row["bytes"] == expected
    for other in ("l2-2-all", "l2-8-4", "kl-8-all"):
        assert (found["l2-8-all"]["error"] < found[other]["error"]) == (other != "l2-8-4")
    assert found["l2-2-4"]["error"] < found["l2-2-all"]["error"] < 1
    assert found["l2-2-all"]["error"] <= found["kl-2-all"]["error"]


def test_the_error_is_that_of_folded_kernels(study: ModuleType, weighted: Any) -> None:
    from model.keras import keras

    target = keras.models.clone_model(weighted)
    row = study._quantized(weighted, target, study.Cell("l2", 3, None))
    norm = weighted.get_layer("l4_dw_bn")
    cds = norm.gamma.numpy() / np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
    before, after = (model.get_layer("l4_dw").get_weights()[0][..., 0] * cds for model in (weighted, target))
    assert row["layers"]["l4_dw"] == pytest.approx(np.linalg.norm(after - before) / np.linalg.norm(before), rel=1e-5)
    for channel in target.get_layer("l7_conv").get_weights()[0].reshape(-1, 16).T:
        assert len(np.unique(channel)) <= 2**3
    np.testing.assert_array_equal(norm.get_weights(), target.get_layer("l4_dw_bn").get_weights())


def test_table_sheet_and_picture(study: ModuleType, weights_study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open(weights_study / "study.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["bits"], row["block"], row["start"]) for row in rows[:3]] == [
        ("2", "4", "l2"),
        ("2", "4", "kl"),
        ("2", "all", "l2"),
    ]
    assert (weights_study / "study.png").read_bytes().startswith(b"\x89PNG")
    table = study._markdown(runs.read_json(weights_study / "study.json"))
    assert {line.count("|") for line in table[2:]} == {10}


@pytest.mark.slow
def test_files_and_trained_shifts_are_measured_once(
    study: ModuleType, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipeline import evaluate

    asked: dict[str, Any] = {
        "run": exported,
        "out": tmp_path / "out",
        "bits": (2,),
        "blocks": ("4",),
        "methods": ("l2",),
    }
    study.run(study.Config(part="files", **asked))
    done = runs.read_json(tmp_path / "out" / "study.json")
    file = evaluate.run(evaluate.Config(model=exported / "export" / "model_float32.tflite", out=tmp_path))
    assert done["float32"]["AP50"] == pytest.approx(file["AP50"])
    assert 0 <= done["cells"]["l2-2-4"]["before"]["AP50"] <= 100

    # What is there is not measured again, and says so.
    done["cells"]["l2-2-4"]["before"]["AP50"] = 12.34
    runs.write_json(tmp_path / "out" / "study.json", done)
    capsys.readouterr()
    study.run(study.Config(part="shifts", epochs=1, images=8, eval_images=4, **asked))
    row = cells(tmp_path / "out")["l2-2-4"]
    assert row["before"]["AP50"] == 12.34
    assert 0 <= row["after"]["AP50"] <= 100
    assert f"| 12.3 | {row['after']['AP50']:.1f} |" in capsys.readouterr().out
    assert not list((tmp_path / "out" / "trainings").iterdir())
    with pytest.raises(ValueError, match=r"study.json: made with training .*epochs.* allowed: another --out"):
        study.run(study.Config(part="shifts", epochs=2, images=8, **asked))


def test_a_study_is_of_one_run(study: ModuleType, weights_study: Path, own_run: Path) -> None:
    from model.build import build
    from pipeline.trained import find

    before = (weights_study / "study.json").read_bytes()
    build(find(own_run).arch).save_weights(str(own_run / "train" / runs.WEIGHTS))
    with pytest.raises(ValueError, match=r"study.json: made with weights_sha256"):
        study.run(study.Config(out=weights_study, run=own_run, part="weights"))
    assert (weights_study / "study.json").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": (1,)}, "bits: .* got 1; allowed: 2 to 8"),
        ({"blocks": ("0",)}, "blocks: .* got '0'"),
        ({"blocks": ("half",)}, "blocks: .* got 'half'"),
        ({"methods": ("l1",)}, "methods: unknown, got 'l1'; allowed: l2, kl"),
        ({"epochs": 0}, "epochs: must be at least 1, got 0"),
        ({"eval_images": 0}, "eval_images: must be at least 1, got 0"),
    ],
)
def test_grids_that_cannot_be(
    study: ModuleType, finished_run: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        study.run(study.Config(out=tmp_path / "out", run=finished_run, **options))
    assert not (tmp_path / "out").exists()
