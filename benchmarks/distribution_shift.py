"""How far a network's kernels can go down in bits, as integers and distribution shifts (arXiv 1901.01928).

    python benchmarks/distribution_shift.py --run runs/cells --out runs/shifts --part weights

For every number of bits, block size and start: error and bytes of the weights, and AP50 of a file with them, before
and after training the shifts alone. What is done is read back from --out: a stopped study goes on, and grids add up.
"""

from __future__ import annotations

import csv
import io
import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import tyro

from micro_yolo.pipeline.learn.options import Options
from micro_yolo.pipeline.learn.recipe import Recipe
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.screen import Screen, Show
from micro_yolo.pipeline.store import runs
from micro_yolo.pipeline.store.finished import Trained, find

if TYPE_CHECKING:
    from micro_yolo.pipeline.learn.session import Session

PROG = "python benchmarks/distribution_shift.py"
STUDY, TABLE, PICTURE = "study.json", "study.csv", "study.png"
TRAININGS = "trainings"
TRAINING = ("epochs", "images", "learning_rate", "batch", "seed")
ALL = "all"


@dataclass(frozen=True)
class Config:
    """Weight error, bytes and AP50 of a run's network in integers and distribution shifts."""

    out: Path
    """Folder of the study: study.json, study.csv, study.png."""
    run: Path | None = None
    """Trained run; by default the newest."""
    from_stage: Annotated[Literal["train", "prune"], tyro.conf.arg(name="from")] = "train"
    """Stage of the run."""
    data: Path | None = None
    """Labelled images; by default those of the training."""
    part: Literal["weights", "files", "shifts"] = "shifts"
    """weights: error and bytes, which take no data; files: also AP50 of a .tflite; shifts: also after training them."""
    bits: tuple[int, ...] = (2, 3, 4, 5, 6, 7, 8)
    """Bits of the integers, 2 to 8."""
    blocks: tuple[str, ...] = ("16", "32", "64", "128", "256", ALL)
    """Input channels that share a shift, or all."""
    methods: tuple[str, ...] = ("l2", "kl")
    """How the shifts are fitted: l2, kl."""
    epochs: int = 2
    """Passes in which the shifts are trained."""
    images: int | None = None
    """Training images a pass, drawn by seed; by default all."""
    learning_rate: float = 0.002
    """Highest learning rate of the shifts."""
    batch: int = 8
    """Images a step."""
    eval_images: int | None = None
    """Validation images, drawn by seed; by default all."""
    threads: int = 1
    """Threads of the .tflite interpreter."""
    cache_gib: float = 2.0
    """Memory for decoded images."""
    seed: int = 0
    """Of everything random."""
    overwrite: bool = False
    """Begin the study anew."""
    json: Path | None = None
    """A file for the lines of study.csv, by the names of their cells."""


@dataclass(frozen=True)
class Cell:
    """One way to store the kernels; `block` None: one shift for all input channels of an output channel."""

    method: str
    bits: int
    block: int | None

    @property
    def name(self) -> str:
        """In study.json."""
        return f"{self.method}-{self.bits}-{self.block or ALL}"


def run(config: Config) -> Path:
    """Do what is not done yet, print the table and return the study's folder.

    Raises ValueError or OSError, in one line, for what a user can mend.
    """
    cells = _cells(config)
    _recipe(config)
    trained = find(config.run, config.from_stage)
    study = _Study(config, trained)

    from micro_yolo.pipeline.learn.session import isolated

    with Screen("stdout") as show, isolated(config.seed):
        study.show = show
        # Before the slow work: it may refuse a setting.
        session = study.session(cells)
        study.fit(cells)
        if session is not None:
            study.train(cells, session)
    from shift_picture import draw

    rows = _rows(study.done)
    runs.write_atomic(config.out / TABLE, _sheet(rows))
    draw(rows, study.done["float32"].get("AP50"), config.out / PICTURE)
    if config.json is not None:
        named = {f"{row['start']}-{row['bits']}-{row['block']}": row for row in rows}
        runs.write_json(config.json, {"float32": study.done["float32"], "cells": named})
    print("\n".join(_markdown(study.done)))
    print(f"\n{config.out}: {STUDY}, {TABLE}, {PICTURE}")
    return config.out


def _cells(config: Config) -> list[Cell]:
    """The grid in order of bits; ValueError for what it cannot have."""
    from micro_yolo.model.quantization.shift import METHODS, limits

    for bits in config.bits:
        limits(bits)
    for text in config.blocks:
        if text != ALL and not (text.isdecimal() and int(text) > 0):
            raise ValueError(f"blocks: must be whole numbers from 1, or {ALL}, got {text!r}")
    for method in config.methods:
        if method not in METHODS:
            raise ValueError(f"methods: unknown, got {method!r}; allowed: {', '.join(METHODS)}")
    for name in ("epochs", "batch", "threads", "images", "eval_images"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise ValueError(f"{name}: must be at least 1, got {value}")
    blocks = [None if text == ALL else int(text) for text in config.blocks]
    grid = itertools.product(config.bits, blocks, config.methods)
    return list(dict.fromkeys(Cell(method, bits, block) for bits, block, method in grid))


def _recipe(config: Config) -> Recipe:
    """How the shifts are trained; ValueError for a setting it cannot have."""
    return Recipe(config.epochs, learning_rate=config.learning_rate, warmup_epochs=0.5, evaluate_every=config.epochs)


class _Study:
    """What is done, on disk and here, and the means to do the rest."""

    def __init__(self, config: Config, trained: Trained) -> None:
        self.config, self.trained, self.file = config, trained, config.out / STUDY
        self.show: Show
        runs.check_writable(config.out)
        facts: dict[str, Any] = {"weights_sha256": runs.sha256(trained.stage / runs.WEIGHTS)}
        if config.part != "weights":
            self.dataset = trained.dataset(config.data)
            self.val = self.dataset.splits["val"]
            if config.eval_images is not None and config.eval_images < len(self.val):
                drawn = np.random.default_rng(config.seed).permutation(len(self.val))[: config.eval_images]
                self.val = self.val.subset(np.sort(drawn).tolist())
            facts |= {"data": str(self.dataset.root.absolute()), "validation_images": len(self.val)}
        if config.part == "shifts":
            facts["training"] = {name: getattr(config, name) for name in TRAINING}
        self.done: dict[str, Any] = {"facts": {}, "float32": {}, "cells": {}}
        if config.overwrite:
            for half in (config.out / TRAININGS, self.file):
                shutil.rmtree(half) if half.is_dir() else half.unlink(missing_ok=True)
        elif self.file.exists():
            self.done = runs.read_json(self.file)
            for name, value in facts.items():
                had = self.done["facts"].get(name, value)
                if had != value:
                    raise ValueError(f"{self.file}: made with {name} {had}, got {value}; allowed: another --out")
        self.done["facts"] |= facts | {"run": str(trained.run), "versions": runs.provenance()}

    def fit(self, cells: list[Cell]) -> None:
        """Error and bytes of each cell and, if asked for, AP50 of a file with its weights."""
        from micro_yolo.model.build import build

        model, target = self.trained.weighted(), build(self.trained.arch)
        base, wanted = self.done["float32"], {"error"}
        base["kernel_bytes"] = sum(4 * kernel.size for _, kernel, _ in _convolutions(model))
        if self.config.part != "weights":
            wanted.add("before")
            if "AP50" not in base:
                base |= self._measure(model)
        missing = [cell for cell in cells if wanted - set(self._row(cell))]
        with self.show.bar("fitting", len(missing)) as advance:
            for cell in missing:
                row = self._row(cell) | asdict(cell) | _quantized(model, target, cell)
                if "before" in wanted:
                    row["before"] = self._measure(target)
                self._keep(cell, row)
                advance()

    def session(self, cells: list[Cell]) -> Session | None:
        """What the shifts are trained with; None if none are asked for, or all are trained."""
        if self.config.part != "shifts" or all("after" in self._row(cell) for cell in cells):
            return None
        from micro_yolo.pipeline.learn.session import Session

        config, trained = self.config, self.trained
        return Session(
            trained.arch,
            self.dataset,
            trained.resize,
            Options(batch=config.batch, cache_gib=config.cache_gib, seed=config.seed),
            self.show,
            loss=trained.loss,
            train_images=config.images,
            eval_images=config.eval_images,
        )

    def train(self, cells: list[Cell], session: Session) -> None:
        """AP50 of a file of each cell once its shifts are trained."""
        from micro_yolo.model.hdf5 import restore
        from micro_yolo.model.quantization import network as quantize
        from micro_yolo.model.quantization.wrap import Quantization
        from micro_yolo.pipeline.learn.loop import Task

        arch, model, recipe = self.trained.arch, self.trained.weighted(), _recipe(self.config)
        for cell in [cell for cell in cells if "after" not in self._row(cell)]:
            self.show.title = f"{cell.name} "
            how = Quantization(cell.bits, train="shifts", block=cell.block, activations=False)
            with session.scope():
                begun = quantize.begin(arch, model, how, cell.method)
            averaged = quantize.wrapped(arch, how)
            directory = self.config.out / TRAININGS / cell.name
            session.train(Task(begun, averaged, session.losses, session.measure(averaged)), recipe, directory)
            restore(averaged, directory / runs.WEIGHTS)
            self._keep(cell, self._row(cell) | {"after": self._measure(quantize.plain(arch, averaged, how))})
            shutil.rmtree(directory)

    def _row(self, cell: Cell) -> dict[str, Any]:
        return dict(self.done["cells"].get(cell.name, {}))

    def _keep(self, cell: Cell, row: dict[str, Any]) -> None:
        self.done["cells"][cell.name] = row
        runs.write_json(self.file, self.done)
        self.show.say(_line(row))

    def _measure(self, model: Any) -> dict[str, float]:
        """AP50 and AP, in points, of a float32 .tflite of `model`, measured through its interpreter."""
        from micro_yolo.model.build import deployable
        from micro_yolo.model.heads import head_of
        from micro_yolo.model.keras import keras
        from micro_yolo.pipeline.convert import write
        from micro_yolo.pipeline.measure.metrics import evaluate_split
        from micro_yolo.tflite import contract, convert
        from micro_yolo.tflite.detector import Detector

        arch, resize = self.trained.arch, self.trained.resize
        deployed = deployable(arch, model)
        data = convert.convert(deployed, "float32")
        convert.check(data, "float32", deployed, [self.val.picture(0, arch.size, resize)[0]])
        described = contract.describe(
            data,
            name=self.trained.run.name,
            arch=arch.name,
            variant="float32",
            rows=arch.detections,
            coding=head_of(arch).coding,
            labels=self.trained.labels,
            resize=resize,
        )
        with tempfile.TemporaryDirectory(prefix="micro-yolo-") as folder:
            detector = Detector(write(Path(folder), data, described), threads=self.config.threads)
            predict = detector.predict_batch
            where = (self.val, self.dataset, arch.size, resize, 1)
            metrics, _ = evaluate_split(predict, arch.detections, *where, coding=described.coding)
        # Each conversion leaves graphs behind, and there are many.
        keras.backend.clear_session()
        return {"AP50": metrics["AP50"], "AP": metrics["AP"]}


def _convolutions(model: Any) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
    """Each convolution's layer, its kernel, (k,k,Cin,Cout) or (k,k,1,C), and its CDS, (Cout,), 1 without batch norm."""
    from micro_yolo.model.keras import keras

    for layer in model.layers:
        if not isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            continue
        kernel = layer.get_weights()[0]
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            kernel = kernel.transpose(0, 1, 3, 2)
        readers = [node.outbound_layer for node in layer.outbound_nodes]
        norm = readers[0] if len(readers) == 1 else None
        cds = np.ones(kernel.shape[3])
        if isinstance(norm, keras.layers.BatchNormalization):
            gamma, _, _, variance = norm.get_weights()
            cds = gamma / np.sqrt(variance + norm.epsilon, dtype=np.float64)
        yield layer, kernel, cds


def _quantized(model: Any, target: Any, cell: Cell) -> dict[str, Any]:
    """Give `target` the weights of `model` with kernels KDS * VQK, and say how far off these are and what they take."""
    from micro_yolo.model.quantization.shift import expand, fit, stored_bytes

    target.set_weights(model.get_weights())
    layers, off, size, stored = {}, 0.0, 0.0, 0
    for layer, kernel, cds in _convolutions(model):
        # A depthwise kernel has one input channel: in blocks, each weight would have a float of its own.
        block = None if kernel.shape[2] == 1 else cell.block
        vqk, kds = fit(kernel, cell.bits, block=block, method=cell.method)
        near = expand(kds, kernel.shape, block) * vqk
        weights = target.get_layer(layer.name).get_weights()
        target.get_layer(layer.name).set_weights([near.reshape(weights[0].shape), *weights[1:]])
        wrong, right = float(np.square(cds * (near - kernel)).sum()), float(np.square(cds * kernel).sum())
        layers[layer.name] = (wrong / right) ** 0.5 if right else 0.0
        off, size = off + wrong, size + right
        stored += stored_bytes(kernel.shape, cell.bits, block)
    return {"error": (off / size) ** 0.5, "layers": layers, "bytes": stored}


def _rows(done: dict[str, Any]) -> list[dict[str, Any]]:
    """What is known of each cell, flat, in order of bits, start and block."""
    found = []
    for row in sorted(done["cells"].values(), key=lambda r: (r["bits"], r["method"] != "l2", r["block"] or np.inf)):
        worst = max(row["layers"], key=row["layers"].get)
        found.append(
            {
                "start": row["method"],
                "bits": row["bits"],
                "block": row["block"] or ALL,
                "error": row["error"],
                "worst_layer": worst,
                "worst_error": row["layers"][worst],
                "bytes": row["bytes"],
                "times_less": done["float32"]["kernel_bytes"] / row["bytes"],
                **{
                    f"{name}_{when}": row.get(when, {}).get(name)
                    for when in ("before", "after")
                    for name in ("AP50", "AP")
                },
            }
        )
    return found


def _line(row: dict[str, Any]) -> str:
    points = "".join(f", AP50 {when} {row[when]['AP50']:.1f}" for when in ("before", "after") if when in row)
    return f"{row['method']} {row['bits']} bits, block {row['block'] or ALL}: error {100 * row['error']:.2f} %{points}"


def _markdown(done: dict[str, Any]) -> list[str]:
    """The study as tables of Markdown."""
    base, rows = done["float32"], _rows(done)
    points = f", AP50 {base['AP50']:.1f}, AP {base['AP']:.1f}" if "AP50" in base else ""
    measured = [row for row in rows if row["AP50_before"] is not None]
    return [
        f"float32: {base['kernel_bytes'] / 1024:.0f} KiB of kernels{points}",
        *_table("Weight error, %:", rows, ("bits", "start"), lambda row: f"{100 * row['error']:.2f}"),
        *_table(
            "KiB of integers and shifts (times less than float32):",
            rows,
            ("bits",),
            lambda row: f"{row['bytes'] / 1024:.0f} ({row['times_less']:.1f})",
        ),
        *_table("AP50 before / after training the shifts:", measured, ("bits", "start"), _points),
    ]


def _points(row: dict[str, Any]) -> str:
    known = (row[f"AP50_{when}"] for when in ("before", "after"))
    return " / ".join(f"{points:.1f}" for points in known if points is not None)


def _table(
    title: str, rows: list[dict[str, Any]], keys: tuple[str, ...], text: Callable[[dict[str, Any]], str]
) -> list[str]:
    """A line for each value of `keys`, a column for each block; nothing without rows."""
    if not rows:
        return []
    blocks = sorted({row["block"] for row in rows}, key=lambda block: (block == ALL, block))
    lines: dict[tuple[Any, ...], dict[Any, str]] = {}
    for row in rows:
        lines.setdefault(tuple(row[key] for key in keys), {})[row["block"]] = text(row)
    head = [*keys, *(f"block {block}" for block in blocks)]
    body = [[*map(str, line), *(cells.get(block, "") for block in blocks)] for line, cells in lines.items()]
    return ["", title, "", *(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *body))]


def _sheet(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    sheet = csv.DictWriter(text, list(rows[0]))
    sheet.writeheader()
    sheet.writerows(rows)
    return text.getvalue()


if __name__ == "__main__":
    cli.main(Config, run, prog=PROG, description=__doc__)
