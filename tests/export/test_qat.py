"""Quantization-aware training as a stage: what it trains, what it leaves, what stops it."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from int8_files import lively, stored, strangers

from micro_yolo.model.keras import keras
from micro_yolo.model.quantization import network as quantize
from micro_yolo.model.quantization.wrap import Quantization, learned_ranges
from micro_yolo.model.spec import Arch, Row
from micro_yolo.pipeline import convert, evaluate, qat
from micro_yolo.pipeline.data.strength import Strength
from micro_yolo.pipeline.learn.loop import Trainer
from micro_yolo.pipeline.learn.recipe import Recipe
from micro_yolo.pipeline.learn.session import Session
from micro_yolo.pipeline.measure.exactness import outputs, said, steps_apart
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.store import runs
from micro_yolo.pipeline.store.finished import find
from micro_yolo.pipeline.store.history import Row as Epoch
from micro_yolo.pipeline.store.history import read
from micro_yolo.tflite import contract as contracts

pytestmark = pytest.mark.slow
SHORT = Recipe(epochs=2, learning_rate=2e-3, weight_decay=0.0, warmup_epochs=0.0, ema=0.5)


def config(run: Path, **changes: Any) -> qat.Config:
    settings: dict[str, Any] = {"bits": 4, "recipe": SHORT, "batch": 4, "samples": 8, "distill": 1.0}
    return qat.Config(run=run, augment=Strength(mosaic=0), **(settings | changes))


def history(run: Path) -> list[Epoch]:
    return read(run / "qat" / runs.HISTORY)


def begun(run: Path, how: Quantization) -> keras.Model:
    trained = find(run, "train")
    return quantize.begin(trained.arch, trained.weighted(), how)


def unsettled(run: Path, how: Quantization) -> keras.Model:
    """The best network of a qat stage as it was trained."""
    model = quantize.wrapped(find(run, "qat").arch, how)
    model.load_weights(str(run / "qat" / runs.WEIGHTS))
    return model


def integers(model: keras.Model) -> np.ndarray:
    return np.concatenate([kernel.vqk.reshape(-1) for kernel in quantize.kernels(model).values()])


def shifts(model: keras.Model) -> np.ndarray:
    return np.concatenate([kernel.kds.reshape(-1) for kernel in quantize.kernels(model).values()])


Moving = namedtuple("Moving", "ranges statistics gammas")


def moving(model: keras.Model) -> Moving:
    weights = {weight.name: weight.numpy().reshape(-1) for weight in model.weights}
    ranges = [end.numpy() for _, _, own in learned_ranges(model) for end in own.values()]
    statistics = [value for name, value in weights.items() if "moving_" in name]
    gammas = [value for name, value in weights.items() if "gamma" in name]
    return Moving(np.array(ranges), np.concatenate(statistics), np.concatenate(gammas))


Quantized = namedtuple("Quantized", "run epochs")


@pytest.fixture(scope="module")
def finished_run(briefest_run: Path) -> Path:
    return briefest_run


@pytest.fixture(scope="module")
def quantized(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Quantized:
    """A run quantized to 4 bits in two epochs, the second frozen, and what moved at the end of each."""
    run = Path(shutil.copytree(finished_run, tmp_path_factory.mktemp("quantized") / "run"))
    epochs = []

    class Watched(quantize.Freeze):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            epochs.append(moving(self.wrapped))

        def on_train_begin(self, logs: Any = None) -> None:
            epochs.append(moving(self.wrapped))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantize, "Freeze", Watched)
        qat.run(config(run, freeze_epochs=1))
    convert.run(convert.Config(run=run, int8=True, head="raw"))
    return Quantized(run, epochs)


def test_a_quantized_run_is_a_stage_like_others(quantized: Quantized) -> None:
    stage = quantized.run / "qat"
    assert runs.is_finished(stage)
    assert {path.name for path in stage.iterdir()} == {
        runs.ARCH, runs.CONFIG, runs.HISTORY, "history.png", "logs", runs.METRICS, runs.WEIGHTS,
    }  # fmt: skip
    recorded = json.loads((stage / runs.CONFIG).read_text())
    assert recorded["quantization"] == {"bits": 4, "train": "all", "block": None, "activations": True}
    assert recorded["parent"]["path"].endswith("train")
    assert Arch.load(stage / runs.ARCH) == Arch.load(quantized.run / "train" / runs.ARCH)
    assert [row["epoch"] for row in history(quantized.run)] == [1, 2]
    assert all(row["distillation"] > 0 for row in history(quantized.run))


def test_its_file_is_the_trained_network(quantized: Quantized, inputs: list[np.ndarray]) -> None:
    path = quantized.run / "export" / "model_int8_raw.tflite"
    trained = find(quantized.run)
    assert trained.stage.name == "qat"
    weights = runs.sha256(quantized.run / "qat" / runs.WEIGHTS)
    assert contracts.load(path).parents[f"qat/{runs.WEIGHTS}"] == weights
    model, data, pixels = trained.weighted(), path.read_bytes(), np.stack(inputs)
    assert strangers(trained.arch, model, data) == []
    assert all(len(np.unique(values)) <= 16 for values, _ in stored(data))
    wanted = said(model, pixels)
    assert all(np.ptp(values) > 4 for values in wanted.values())
    assert np.mean(steps_apart(outputs(data, pixels), wanted) <= 1) >= 0.999
    assert evaluate.run(evaluate.Config(model=path)).metrics["images"] == 4


def test_ranges_and_statistics_stand_still_at_the_end_only(quantized: Quantized) -> None:
    before, first, last = quantized.epochs
    for name in ("ranges", "statistics"):
        assert np.any(getattr(before, name) != getattr(first, name))
        np.testing.assert_array_equal(getattr(first, name), getattr(last, name))
    assert np.any(first.gammas != last.gammas)


def test_all_trains_integers_and_shifts(quantized: Quantized) -> None:
    how = Quantization(4)
    before, after = begun(quantized.run, how), unsettled(quantized.run, how)
    assert np.any(integers(before) != integers(after))
    assert np.mean(shifts(before) != shifts(after)) > 0.5


def test_shifts_trains_no_integer_and_the_best_epoch_stays(own_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([{"AP": 10.0, "AP50": 30.0}, {"AP": 20.0, "AP50": 20.0}])
    monkeypatch.setattr(Session, "measure", lambda *_: lambda: next(scores))
    qat.run(config(own_run, train="shifts", distill=0.0, rank_by="AP50"))
    assert json.loads((own_run / "qat" / runs.METRICS).read_text())["epoch"] == 1
    how = Quantization(4, "shifts")
    before, after = begun(own_run, how), unsettled(own_run, how)
    np.testing.assert_array_equal(integers(before), integers(after))
    assert np.mean(shifts(before) != shifts(after)) > 0.5
    assert "distillation" not in history(own_run)[0]


def test_a_full_disk_stops_it_and_it_goes_on_to_the_same_end(
    own_run: Path, quantized: Quantized, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage, epoch = shutil.disk_usage, Trainer._epoch
    trained = []

    def counted(self: Trainer, number: int, dataset: Any) -> Any:
        trained.append(number)
        return epoch(self, number, dataset)

    monkeypatch.setattr(Trainer, "_epoch", counted)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="the epoch cannot be saved"):
        patch.setattr(shutil, "disk_usage", lambda path: usage(path)._replace(free=1000 if 2 in trained else 1 << 40))
        qat.run(config(own_run, freeze_epochs=1))
    assert not runs.is_finished(own_run / "qat")
    assert not [path for path in (own_run / "qat").iterdir() if path.name.startswith(".")]
    with pytest.raises(ValueError, match="holds a half-made qat; allowed: --resume"):
        qat.run(config(own_run))
    qat.run(qat.Config(run=own_run, resume=True))
    assert trained == [1, 2, 2]
    assert runs.is_finished(own_run / "qat")
    for row, wanted in zip(history(own_run), history(quantized.run), strict=True):
        timings = {name: row[name] for name in ("seconds", "images_per_second")}
        assert row == wanted | timings


def test_it_goes_on_from_the_pruned_network_which_must_stay(own_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    shutil.copytree(own_run / "train", own_run / "prune")
    monkeypatch.setattr(qat, "_train", stop)
    with pytest.raises(KeyboardInterrupt):
        qat.run(config(own_run))
    recorded = json.loads((own_run / "qat" / runs.CONFIG).read_text())
    assert recorded["parent"]["path"].endswith("prune")
    with open(own_run / "prune" / runs.WEIGHTS, "ab") as file:
        file.write(b"other")
    with pytest.raises(ValueError, match="began with other weights than"):
        qat.run(qat.Config(run=own_run, resume=True))


def test_no_room_for_its_first_files_leaves_no_stage(own_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, value: Any) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(runs, "write_json", full)
    with pytest.raises(OSError, match="No space left"):
        qat.run(config(own_run))
    assert not (own_run / "qat").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bits": 1}, r"^bits: must be a whole number from 2 to 8, got 1$"),
        ({"bits": 9}, r"^bits: must be a whole number from 2 to 8, got 9$"),
        ({"samples": 0}, r"^samples: must be at least 1, got 0$"),
        ({"distill": -1.0}, r"^distill: must not be negative, got -1\.0$"),
        ({"distill": float("nan")}, r"^distill: must not be negative, got nan$"),
        ({"freeze_epochs": 3}, r"^freeze_epochs: must be 0 to the 2 epochs there are, got 3$"),
        ({"freeze": "l44"}, r"^freeze: unknown row, got 'l44'; nearest: l4; allowed: a row of tiny above its last"),
        ({"freeze": "d1"}, r"^freeze: leaves nothing to train, got 'd1'; allowed: a row of tiny above its last"),
        ({"batch": 1000}, r"^batch: must not exceed the 12 training images, got 1000"),
        ({"from_stage": "prune"}, r"no such stage"),
    ],
)
def test_wrong_settings_make_no_stage(own_run: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message) as refused:
        qat.run(config(own_run, **changes))
    assert len(str(refused.value).splitlines()) == 1
    assert not (own_run / "qat").exists()


def test_what_cannot_be_quantized(own_run: Path, quantized: Quantized, capfd: Any) -> None:
    (own_run / "train" / "metrics.json").unlink()
    with pytest.raises(ValueError, match=r"its train is half-made; `python -m pipeline\.train"):
        qat.run(config(own_run))
    with pytest.raises(ValueError, match=r"already holds a finished qat; allowed: another --run, or --overwrite$"):
        qat.run(config(quantized.run))
    with pytest.raises(ValueError, match="its qat stage is finished"):
        qat.run(config(quantized.run, resume=True))
    with pytest.raises(SystemExit) as stopped:
        cli.main(qat.Config, qat.command, prog=qat.PROG, args=["--run", str(quantized.run), "--bits", "9"])
    assert stopped.value.code == 2
    assert capfd.readouterr().err == f"{qat.PROG}: bits: must be a whole number from 2 to 8, got 9\n"


def test_a_range_of_joined_values_follows_the_lowest(inputs: list[np.ndarray]) -> None:
    """The first of them is never negative, the second is."""
    arch = Arch(
        "joined",
        (
            Row("a", "conv", 4, k=3, s=4),
            Row("b", "conv", 4, k=3, s=4, act="linear", src=("input",)),
            Row("c", "concat", src=("a", "b")),
            Row("d", "detect", anchors=((9.0, 9.0),)),
        ),
        size=inputs[0].shape[:2],
        classes=1,
    )
    pixels = np.stack(inputs)
    trained = lively(arch, pixels)
    model = quantize.begin(arch, trained, Quantization(8))
    quantize.calibrate(model, trained, [pixels])
    (own,) = [own for layer, _, own in learned_ranges(model) if layer.name == "b_bn"]
    start = float(own["low"])
    model(pixels.astype(np.float32), training=True)
    assert start < -0.1
    assert float(own["low"]) == pytest.approx(start, rel=0.03 * 0.8)
