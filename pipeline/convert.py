"""A trained run -> .tflite files that were opened, looked through and run before they got their name.

    python -m pipeline.convert --run runs/cells --int8

See docs/convert.md.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import tyro

from micro_yolo.model.nearest import nearest
from micro_yolo.model.printable import typed
from micro_yolo.pipeline.card import figures
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.listing import listing, points
from micro_yolo.pipeline.show.screen import QUIET, Screen, Show
from micro_yolo.pipeline.store import killed, runs
from micro_yolo.pipeline.store.finished import From, Trained, find
from micro_yolo.tflite import contract as contracts
from micro_yolo.tflite.contract import Contract
from micro_yolo.tflite.convert import VARIANTS
from micro_yolo.tflite.decode import enough
from micro_yolo.tflite.package import label_file, seal
from micro_yolo.tflite.targets import TARGETS, Target

if TYPE_CHECKING:
    from micro_yolo.pipeline.data import Dataset

PROG = "python -m pipeline.convert"
LABELS = "labels.txt"
# Images the finished file and Keras are compared on; more only cost time.
COMPARED = 8
# Bits of a weight that fit twice in a byte.
FEW = 4
_TARGET_HELP = (
    f"Also make what others need, several by commas: {'; '.join(f'{n}, {t.help}' for n, t in TARGETS.items())}."
)


@dataclass(frozen=True)
class Config:
    """Convert a trained run to .tflite; without a variant, to float32."""

    run: Path | None = None
    """Run to convert; by default the newest."""
    from_stage: Annotated[From | None, tyro.conf.arg(name="from")] = None
    """Stage of the run; by default the most finished."""
    float32: bool = False
    """Weights and arithmetic as trained."""
    float16: bool = False
    """Weights in half precision: half the size."""
    dynamic: bool = False
    """Weights in int8, outputs in float: a quarter of the size, no calibration."""
    int16x8: bool = False
    """Integers only: activations int16, weights int8."""
    int8: bool = False
    """Integers only: uint8 pixels in, int8 out; what phones and edge accelerators run fast."""
    head: Literal["detections", "raw"] = "detections"
    """What comes out: detections, decoded and suppressed in the file, or raw grids, for accelerators."""
    squeeze: Literal["mean", "pool"] = "mean"
    """How gates average over the picture: by a mean, or by a pool, which accelerators run faster."""
    pack: Literal["none", "int4"] = "none"
    """Kernels of 4 bits or fewer in int8 files: a byte each, or two in a byte, which halves them."""
    samples: int = 200
    """Training images to calibrate int8 and int16x8 on."""
    score_samples: int = 500
    """Validation images to measure on, with each file, from which score on to show detections; 0 leaves it at 0.25."""
    max_detections: int = 100
    """Objects in a picture that the file finds at most."""
    author: str = ""
    """Who made the model, for the metadata in the file."""
    licence: str = ""
    """Licence of the model, for the metadata in the file."""
    model_version: str = ""
    """Version of the model, for the metadata in the file."""
    data: Path | None = None
    """Labelled images to calibrate on; by default those of the training."""
    out: Path | None = None
    """Folder for the files; by default the run's export."""
    target: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(help=_TARGET_HELP, metavar="NAME")] = ()
    android: bool = False
    """The former spelling of --target android."""
    overwrite: bool = False
    """Replace files of the same name."""

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants asked for, in the order of VARIANTS."""
        return tuple(variant for variant in VARIANTS if getattr(self, variant)) or VARIANTS[:1]


@dataclass(frozen=True)
class File:
    """A file that was converted.

    Attributes:
        path: of the .tflite.
        contract: beside it.
        n_bytes: its size.
        differences: mean |difference| to Keras of each output, 0..1.
        seconds: that it took.
    """

    path: Path
    contract: Contract
    n_bytes: int
    differences: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class Converted:
    """What a conversion made.

    Attributes:
        stage: directory of the stage it was made of.
        arch: name of the network.
        export: folder of the files.
        files: in the order of VARIANTS.
    """

    stage: Path
    arch: str
    export: Path
    files: tuple[File, ...]


def run(config: Config, show: Show = QUIET) -> Converted:
    """Convert as `config` says.

    Raises ValueError or OSError, in one line, for what a user can mend; then nothing is written.
    """
    if config.samples < 1:
        raise ValueError(f"samples: must be at least 1, got {config.samples}")
    if config.max_detections < 1:
        raise ValueError(f"max_detections: must be at least 1, got {config.max_detections}")
    if config.score_samples < 0:
        raise ValueError(f"score_samples: must not be negative, got {config.score_samples}")
    targets = _targets(config)
    trained = find(config.run, config.from_stage)
    if config.squeeze == "pool" and not any(row.se for row in trained.arch.rows):
        raise ValueError(f"squeeze: pool is for networks with gates, {trained.arch.name} has none; allowed: mean")
    variants = config.variants
    bits = (trained.quantization or {}).get("bits", 8)
    if config.pack == "int4" and ("int8" not in variants or bits > FEW):
        raise ValueError(
            f"pack: int4 is for --int8 after `python -m pipeline.qat --bits {FEW}` or fewer, got {bits}; allowed: none"
        )
    export = trained.run / runs.EXPORT if config.out is None else config.out
    parents = {f"{trained.stage.name}/{name}": runs.sha256(trained.stage / name) for name in (runs.ARCH, runs.WEIGHTS)}
    planned = [
        target.folder(export) / name
        for target in targets
        for variant in variants
        for name in target.names(trained.run.name, variant, target.head or config.head)
    ]
    for variant in variants:
        path = export / file_name(variant, config.head)
        planned += [path, figures.path_of(path)]
    with killed.alone(export, "another --out"):
        return _converted(config, trained, export, targets, planned, parents, show)


def _converted(
    config: Config,
    trained: Trained,
    export: Path,
    targets: Sequence[Target],
    planned: Sequence[Path],
    parents: dict[str, str],
    show: Show,
) -> Converted:
    """`run`, when it is known what is asked for and that no other process writes there; `planned` are all paths."""
    variants = config.variants
    runs.sweep(trained.run)
    killed.sweep(export)
    half_written = killed.half_written(export)
    if not config.overwrite:
        for path in planned:
            if os.path.abspath(path) not in half_written:
                _refuse_existing(path, parents)
    runs.check_writable(export)

    from micro_yolo.pipeline.data.beyond import beyond

    aware = {"int8"} if trained.quantization is not None else set()
    calibrated = bool(({"int8", "int16x8"} - aware) & set(variants))
    dataset = _dataset(trained, config, show, needed=calibrated)
    if dataset is not None and (too_many := beyond(dataset, config.max_detections)):
        show.warn(too_many)
    nms = contracts.Nms(max_detections=config.max_detections, pre_nms=enough(config.max_detections))
    samples = _samples(trained, dataset, config.samples if calibrated else COMPARED, show)

    from micro_yolo.model.heads import head_of
    from micro_yolo.pipeline.card.facts import learned
    from micro_yolo.pipeline.card.sections import Subject, about, card
    from micro_yolo.pipeline.data.fingerprint import sums
    from micro_yolo.pipeline.measure.f1 import measured_on
    from micro_yolo.tflite import convert as converting
    from micro_yolo.tflite import head_check, nibbles, squeeze
    from micro_yolo.tflite.detector import Detector

    coding = head_of(trained.arch).coding
    described = partial(
        contracts.describe,
        name=trained.run.name,
        arch=trained.arch.name,
        rows=trained.arch.detections,
        coding=coding,
        nms=nms,
        labels=trained.labels,
        resize=trained.resize,
        parents=parents,
        data=contracts.Data(
            str(trained.data) if trained.data else None, trained.val_fraction, trained.seed, sums(trained.content)
        ),
        versions=runs.provenance(),
    )
    facts = learned(trained, dataset)
    said = partial(about, trained, facts, author=config.author, licence=config.licence, version=config.model_version)
    files: list[File] = []
    contents: dict[Path, bytes] = {}
    start = time.perf_counter()
    for variant, model, data in _made(trained, variants, aware, samples):
        data = squeeze.pooled(data) if config.squeeze == "pool" else data
        differences = converting.check(data, variant, model, samples[:COMPARED])
        if config.pack == "int4" and variant == "int8":
            whole, data = data, nibbles.packed(data)
            nibbles.check_same(data, whole, samples[:COMPARED])
        made = {"raw": data}
        if config.head == "detections":
            rows, n_classes = trained.arch.detections, len(trained.labels)
            made["detections"] = head_check.with_detections(
                data, rows, n_classes, samples[:COMPARED], coding=coding, nms=nms
            )
        wanted: dict[str, None] = dict.fromkeys((config.head, *(target.head or config.head for target in targets)))
        contracted = {
            head: replace(described(made[head], head=head, variant=variant), start=trained.start or {})
            for head in wanted
        }
        if dataset is not None and config.score_samples:
            own = contracted[config.head]
            detector = Detector(file_name(variant, config.head), contract=own, data=made[config.head])
            thresholds = measured_on(detector, dataset, config.score_samples, show)
            if thresholds:
                contracted = {head: each.measured(thresholds) for head, each in contracted.items()}
        sealed = {head: seal(made[head], each, said(each)) for head, each in contracted.items()}
        data, contract = sealed[config.head]
        path = export / file_name(variant, config.head)
        contents |= _files(path, data, contract)
        measured = len(samples) if variant in converting.CALIBRATED and variant not in aware else 0
        subject = Subject(trained, facts, said(contract), contract, data, measured)
        contents[figures.path_of(path)] = card(subject, path).encode()
        for target in targets:
            contents |= target.placed(export, trained.run.name, *sealed[target.head or config.head])
        files.append(File(path, contract, len(data), differences, time.perf_counter() - start))
        start = time.perf_counter()
    runs.write_together(contents, record=export)
    return Converted(trained.stage, trained.arch.name, export, tuple(files))


def _made(
    trained: Trained, variants: Sequence[str], aware: set[str], samples: Sequence[np.ndarray]
) -> Iterator[tuple[str, Any, bytes]]:
    """Each variant, the Keras model it is made of, and its bytes. `aware` are those that come last, if at all."""
    from micro_yolo.model.keras import unswept
    from micro_yolo.tflite import convert as converting

    weighted = trained.weighted()
    for kind, names in [(kind, list(its)) for kind, its in groupby(variants, aware.__contains__)]:
        with ExitStack() as stack:
            with unswept():
                model = trained.deployable(names[0], weighted)
                folder = stack.enter_context(converting.saved(model))
            for variant in names:
                used, logits = samples if variant in converting.CALIBRATED else [], model.layout.logits
                with unswept():
                    data = converting.convert(model, variant, used, aware=kind, folder=folder, logits=logits)
                yield variant, model, data


def write(export: Path, data: bytes, contract: Contract) -> Path:
    """Write a .tflite, its contract and labels.txt into `export`, all of them or none.

    Raises OSError, such as for a full disk.
    """
    path = export / file_name(contract.variant, contract.head)
    runs.write_together(_files(path, data, contract))
    return path


def _files(path: Path, data: bytes, contract: Contract) -> dict[Path, bytes]:
    return {
        path: data,
        contracts.path_of(path): contract.to_json().encode(),
        path.with_name(LABELS): label_file(contract.labels),
    }


def _targets(config: Config) -> list[Target]:
    asked = [name.strip() for text in config.target for name in text.split(",")]
    asked += ["android"] if config.android else []
    for name in asked:
        if name not in TARGETS:
            raise ValueError(f"target: unknown, got {name!r}; allowed: {', '.join(TARGETS)}{nearest(name, TARGETS)}")
    return [TARGETS[name] for name in dict.fromkeys(asked)]


def file_name(variant: str, head: str) -> str:
    """What a converted file is called: model_int8.tflite, with grids model_int8_raw.tflite."""
    return f"model_{variant}{'' if head == 'detections' else '_raw'}.tflite"


def _refuse_existing(path: Path, parents: dict[str, str]) -> None:
    if not path.exists():
        return
    made = ""
    if path.suffix in (".tflite", ".json"):
        try:
            same = contracts.load(path).parents == parents
        except (ValueError, OSError):
            same = False
        made = f", made from {'these' if same else 'other'} weights"
    raise ValueError(f"{path}: already exists{made}; allowed: --overwrite")


def _dataset(trained: Trained, config: Config, show: Show, *, needed: bool) -> Dataset | None:
    """The labelled images; None if they are gone and only float variants are made, which can do without."""
    try:
        return trained.dataset(config.data, warn=show.warn)
    except (ValueError, OSError) as error:
        if needed or config.data is not None:
            raise
        if config.score_samples:
            from micro_yolo.pipeline.measure.f1 import UNMEASURED

            show.warn(UNMEASURED.format(error))
        return None


def _samples(trained: Trained, dataset: Dataset | None, count: int, show: Show) -> list[np.ndarray]:
    """Training images at the network's size; noise without a data set."""
    if dataset is None:
        rng = np.random.default_rng(0)
        return [rng.integers(0, 256, (*trained.arch.size, 3), np.uint8) for _ in range(COMPARED)]

    from micro_yolo.pipeline.data.sample import sample_images

    def unreadable(fault: str) -> None:
        show.warn(f"not used for calibration: {fault}")

    return sample_images(dataset.splits["train"], count, trained.arch.size, trained.resize, unreadable=unreadable)


def tell(made: Converted, show: Show) -> None:
    """What people want to know of it."""
    from rich.markup import escape

    table = listing("file", "MiB", "mean |difference| to Keras", "score above", "F1", "s")
    for file in made.files:
        difference = float(np.mean(list(file.differences.values())))
        thresholds = file.contract.thresholds
        table.add_row(
            escape(file.path.name),
            f"{file.n_bytes / 2**20:.2f}",
            f"{difference:.5f}",
            f"{file.contract.nms.score_threshold:g}",
            points(100 * thresholds.all.f1) if thresholds else "-",
            f"{file.seconds:.0f}",
        )
    show.say(f"{made.stage} ({made.arch}) -> {made.export}")
    show.draw(table)
    show.say(f"next: python -m pipeline.evaluate --model {typed(made.files[-1].path)}")


def command(config: Config) -> None:
    """Convert and tell."""
    with Screen() as show:
        tell(run(config, show), show)


def main() -> None:
    """The command line."""
    cli.main(Config, command, prog=PROG, description=__doc__)


if __name__ == "__main__":
    main()
