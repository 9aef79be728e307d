"""The trained network of a run, as every stage after training needs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from micro_yolo.model.printable import typed
from micro_yolo.pipeline.store import runs
from micro_yolo.pipeline.store.resume import Held
from micro_yolo.tflite.image import RULES
from micro_yolo.tflite.typed import read as read_typed

if TYPE_CHECKING:
    from micro_yolo.model.spec import Arch
    from micro_yolo.pipeline.data import Dataset

From = Literal["train", "prune", "qat"]
Before = Literal["distill"]


@dataclass(frozen=True)
class Trained:
    """A finished stage: where it is, its table, and what its config.json says of the data.

    Attributes:
        run: the run's directory.
        stage: the stage's directory.
        arch: the network's table.
        labels: class names by class number.
        resize: rule of tflite.image.RULES.
        data: the data set it was trained on.
        val_fraction: share held back where that has no splits of its own.
        seed: of that split.
        quantization: of a qat stage, as its config.json says it: the fields of model.quantization.wrap.Quantization.
        loss: settings of the loss it was trained with; none of a stage that does not say.
        start: facts of the start weights it descends from, see `model.start`; None of one that began fresh.
        content: of the data, see `pipeline.data.fingerprint`; None of a stage that does not say.
        learned: rows that learned something, of a stage in which not all did; None: all. Such a stage has no labels.
    """

    run: Path
    stage: Path
    arch: Arch
    labels: tuple[str, ...]
    resize: str
    data: Path | None
    val_fraction: float
    seed: int
    quantization: dict[str, Any] | None = None
    loss: dict[str, Any] = field(default_factory=dict)
    start: dict[str, str] | None = None
    content: dict[str, Any] | None = None
    learned: tuple[str, ...] | None = None

    def weighted(self) -> Any:
        """The Keras model with the stage's weights; its outputs are logits. ValueError if they do not fit the table.

        That of a qat stage is rounded as its int8 file is.
        """
        if self.quantization is None:
            from micro_yolo.model.build import build

            return self._loaded(build(self.arch))
        from micro_yolo.model.quantization import network as quantize
        from micro_yolo.model.quantization.settle import settle

        model = self._loaded(quantize.wrapped(self.arch, self._quantization()))
        settle(model)
        return model

    def deployable(self, variant: str, weighted: Any) -> Any:
        """The Keras model to convert to a variant of `tflite.convert`, from `weighted`; its outputs are sigmoids.

        Of a qat stage int8 has its integers, and says itself how it is quantized; the others are the float network
        with its kernels, integers times shifts.
        """
        from micro_yolo.model.build import deployable

        if self.quantization is None:
            return deployable(self.arch, weighted)
        from micro_yolo.model.quantization import network as quantize

        if variant == "int8":
            return quantize.deployable(self.arch, weighted, self._quantization())
        return deployable(self.arch, quantize.plain(self.arch, weighted, self._quantization()))

    def plain(self) -> Any:
        """The float network with the stage's weights; of a qat stage those its int8 file has."""
        if self.quantization is None:
            return self.weighted()
        from micro_yolo.model.quantization import network as quantize

        return quantize.plain(self.arch, self.weighted(), self._quantization())

    def _quantization(self) -> Any:
        from micro_yolo.model.quantization.wrap import Quantization

        try:
            return Quantization(**(self.quantization or {}))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self.stage / runs.CONFIG}: quantization: {error}; make the stage again") from None

    def _loaded(self, model: Any) -> Any:
        from micro_yolo.model.hdf5 import restore

        path = self.stage / runs.WEIGHTS
        try:
            restore(model, path)
        # h5py and Keras raise OSError, KeyError, ValueError, AttributeError, ... for a file of something else.
        except Exception as error:
            reason = " ".join(str(error).split())[:160]
            raise ValueError(f"{path}: the weights do not fit the table in {runs.ARCH} ({reason})") from None
        return model

    def facts(self, data: Path | None = None) -> dict[str, Any]:
        """What the config.json of a stage made from this one says of classes and data; `find` reads it back.

        `data` is the data set of that stage, if it has another.
        """
        from micro_yolo.pipeline.data.loader import whole

        return {
            "names": self.labels,
            "data": self.data if data is None else whole(data),
            "resize": self.resize,
            "val_fraction": self.val_fraction,
            "split_seed": self.seed,
            "start": self.start,
        }

    def dataset(
        self, path: Path | None = None, *, by_name: bool = False, warn: Callable[[str], None] | None = None
    ) -> Dataset:
        """The data set at `path`, else the one of the training, split as in training.

        Args:
            path: of another one.
            by_name: its classes may be others than those of the network.
            warn: told where the one of the training has changed since.

        Raises:
            FileNotFoundError: it is not where it was.
            ValueError: it cannot be read, or has a class that the network has not, unless `by_name`.
        """
        from micro_yolo.pipeline.data.fingerprint import changes
        from micro_yolo.pipeline.data.loader import is_there, load
        from micro_yolo.pipeline.data.relabel import under

        if path is None and self.data is None:
            raise ValueError(f"{self.stage / runs.CONFIG}: names no data set; pass --data PATH")
        if path is None and self.data is not None and not is_there(self.data):
            raise FileNotFoundError(f"{self.data}: the training data is no longer there; pass --data PATH")
        dataset = load(path or self.data or "", val_fraction=self.val_fraction, seed=self.seed)
        if warn is not None and path is None and (changed := changes(dataset, self.content)):
            warn(changed)
        if not by_name:
            dataset = under(dataset, self.labels)
            check_names(dataset, self.labels, self.stage)
        return dataset


def find(run: Path | None = None, from_stage: From | Before | None = None, *, before: From | None = None) -> Trained:
    """The most finished stage of `run` (default: runs/latest), of those before `before`, or its stage `from_stage`.

    Raises FileNotFoundError or ValueError, saying which command helps.
    """
    from micro_yolo.model.spec import Arch

    directory = runs.resolve_run(run)
    if from_stage is None:
        path = runs.latest_stage(directory, before)
    else:
        path = directory / from_stage
        if path.is_dir() and not runs.is_finished(path):
            raise ValueError(
                f"{path}: is half-made; `python -m pipeline.{from_stage} --run {typed(directory)} --resume`"
            )
    stage = runs.read_stage(path)
    arch = Arch.load(path / runs.ARCH)
    where = path / runs.CONFIG
    names = stage.config.get("names")
    settings = stage.config.get("settings", {})
    learned = _learned(path, stage.config)
    classes = arch.classes if learned is None else 0
    if not isinstance(names, list) or len(names) != classes or not isinstance(settings, dict):
        raise ValueError(f"{where}: must name the {classes} classes of {runs.ARCH} and the settings, got {names!r:.80}")
    # A training's settings say how its data was read; later stages have settings of their own and repeat it as facts.
    facts = {"split_seed": settings.get("seed", 0), "resize": "stretch", **settings, **stage.config}
    said, data = read_typed(_Facts, facts, str(where)), stage.config.get("data")
    # Not as a text that can be printed: a path need not be one.
    if data is not None and not isinstance(data, str):
        raise ValueError(f"{where}.data: must be a string, got {data!r:.80}")
    if said.resize not in RULES:
        raise ValueError(f"{where}.resize: unknown, got {said.resize[:80]!r}; allowed: {', '.join(RULES)}")
    if not 0 < said.val_fraction < 1:
        raise ValueError(f"{where}.val_fraction: must be between 0 and 1, got {said.val_fraction}")
    return Trained(
        run=directory,
        stage=path,
        arch=arch,
        labels=tuple(str(name) for name in names),
        resize=said.resize,
        data=Path(data) if data else None,
        val_fraction=said.val_fraction,
        seed=said.split_seed,
        quantization=_quantization(path, stage.config),
        loss=stage.config.get("loss", {}),
        start=_start(where, stage.config.get("start")),
        content=stage.config.get("content"),
        learned=learned,
    )


@dataclass(frozen=True)
class _Facts:
    """What a config.json says of the data, which may be anybody's."""

    resize: str
    split_seed: int
    val_fraction: float = 0.2
    content: dict[str, Held] | None = None


def _start(where: Path, found: Any) -> dict[str, str] | None:
    if found is None:
        return None
    if not isinstance(found, dict) or not found.keys() >= {"name", "source", "licence"}:
        raise ValueError(f"{where}: start must have a name, source and licence, got {found!r:.80}")
    return {str(name): str(value) for name, value in found.items()}


def _learned(path: Path, config: dict[str, Any]) -> tuple[str, ...] | None:
    if path.name != runs.DISTILL:
        return None
    found = config.get("learned")
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise ValueError(f"{path / runs.CONFIG}: must say which rows learned, got {found!r:.80}")
    return tuple(found)


def _quantization(path: Path, config: dict[str, Any]) -> dict[str, Any] | None:
    if path.name != "qat":
        return None
    found = config.get("quantization")
    if not isinstance(found, dict):
        raise ValueError(f"{path / runs.CONFIG}: must say how the network is quantized, got {found!r:.80}")
    return found


def check_names(dataset: Dataset, labels: tuple[str, ...], model: str | Path) -> None:
    """Raise ValueError unless the data set's classes are the model's, in the same order."""
    if tuple(dataset.names) != tuple(labels):
        raise ValueError(
            f"{dataset.root}: its classes must be those of {model}, got {', '.join(dataset.names)[:120]}; "
            f"allowed: {', '.join(labels)[:120]}"
        )
