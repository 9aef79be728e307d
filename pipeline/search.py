"""Which kernel size for which row: every combination is trained briefly and ranked (Micro-YOLO, section on figure 4).

    python -m pipeline.search --data PATH --size 160 --run runs/kernels

Each candidate is a run of its own in ``RUN/search/``, measured on its float32 .tflite. Started several times with the
same ``--run`` and ``--storage``, on as many machines, the candidates are shared out. See docs/search.md.
"""

from __future__ import annotations

import dataclasses
import gc
import itertools
import re
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from micro_yolo.model.nearest import nearest
from micro_yolo.model.printable import typed
from micro_yolo.pipeline import train
from micro_yolo.pipeline.data.strength import Strength
from micro_yolo.pipeline.learn import devices, quick
from micro_yolo.pipeline.learn.options import parse_size
from micro_yolo.pipeline.learn.ranking import RANKING, SHEET, Candidate, blank, known, ranked, table, write
from micro_yolo.pipeline.learn.recipe import Recipe
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.screen import QUIET, Screen, Show
from micro_yolo.pipeline.store import killed, resume, runs

if TYPE_CHECKING:
    from micro_yolo.model.spec import Arch

PROG = "python -m pipeline.search"
BEST, PICTURE = "best.json", "search.png"
# What config.json calls the study that processes share, and the seconds they give the first to write it.
STUDY, BEGINNING = "study", 60.0


@dataclass(frozen=True)
class Config(train.Config):
    """Train every combination of kernel sizes briefly and rank them by AP50 on validation."""

    arch: str = "micro_yolo"
    """Network: a name that `python -m pipeline.summary` lists, or a table in a .json file."""
    rows: tuple[str, ...] = ("l3", "l5", "l7", "l9", "l11")
    """Rows of the network whose kernel size is searched."""
    kernels: tuple[int, ...] = (3, 5)
    """Kernel sizes to try in each."""
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=20))
    storage: str | None = None
    """What processes that share the search keep account in: a file on a disk of all, or a database's URL (Optuna)."""


@dataclass(frozen=True)
class Result:
    """What a search leaves.

    Attributes:
      run: directory of the run.
      stage: its `search`.
      candidates: best first; those that failed come last, with the reason as their `error`.
      best: table of the winner; None if none could be measured.
      data: the images it was searched on.
    """

    run: Path
    stage: Path
    candidates: list[Candidate]
    best: Path | None
    data: Path

    @property
    def failed(self) -> list[Candidate]:
        """Those that could not be trained or measured; ``resume`` tries them again."""
        return [each for each in self.candidates if each["AP50"] is None]


def run(config: Config, show: Show = QUIET) -> Result:
    """Search as `config` says.

    A candidate that fails is recorded with its reason and the search goes on.

    Raises:
      ValueError: what a user can mend, before any training.
      OSError: such as a full disk, at once: it would fail the next candidate too. ``resume`` goes on.
    """
    from micro_yolo.model import zoo
    from micro_yolo.pipeline.data import load
    from micro_yolo.pipeline.data.fingerprint import check_content, content

    devices.check_alone("a search")
    again, config = config.resume, _joining(config)
    if config.resume:
        config = _recorded(config)
        arch = zoo.find(_stage(config) / runs.ARCH)
    else:
        arch = zoo.find(config.arch)
    if config.data is None:
        show.say(f"no --data: searching on drawn shapes; your own images: {PROG} --data FOLDER")
        config = _quick(config)
    if config.size is not None:
        arch = arch.resized(parse_size(config.size))
    tables = candidates(arch, config.rows, config.kernels)
    _check(config)
    if config.data is None:
        config = dataclasses.replace(config, data=quick.drawn(quick.IMAGES, arch.size, config.seed))
    dataset = load(config.data or "", val_fraction=config.val_fraction, seed=config.seed)
    if config.resume:
        check_content(dataset, resume.facts(_stage(config)), str(_stage(config)))
    config.check_batch(len(dataset.splits["train"]))
    if not config.resume:
        try:
            made = runs.new_run(config.run, stage=runs.SEARCH, overwrite=config.overwrite)
            asked = dataclasses.replace(config, run=made, overwrite=False)
            facts: dict[str, Any] = {} if config.storage is None else {STUDY: f"{made.name}-{uuid.uuid4().hex[:8]}"}
            held = content(dataset)
            runs.begin(_stage(asked), asked, arch=arch.to_json(), data=dataset.place, content=held, **facts)
        except (ValueError, OSError):
            # Of processes that begin at one moment one is the first.
            if config.storage is None or not _stage(config).is_dir():
                raise
            return run(config, show)
        config = asked
    tables = {key: each.with_classes(len(dataset.names)) for key, each in tables.items()}
    if config.storage is not None:
        return _finish(config, _share(config, tables, show, again=again))
    with killed.alone(_stage(config)):
        return _finish(config, _search(config, tables, show))


def candidates(arch: Arch, rows: Sequence[str], kernels: Sequence[int]) -> dict[str, Arch]:
    """A table for every choice of one of `kernels` for each of `rows`, by a name such as "35353".

    Raises ValueError for a row that is unknown, named twice or has no kernel, and for less than two kernel sizes.
    """
    if not rows or len(set(rows)) < len(rows):
        raise ValueError(f"rows: must be different rows of {arch.name}, at least one, got {' '.join(rows) or 'none'}")
    if len(kernels) < 2 or len(set(kernels)) < len(kernels) or min(kernels) < 1:
        raise ValueError(
            f"kernels: must be two or more different sizes above 0, got {' '.join(map(str, kernels)) or 'none'}"
        )
    from micro_yolo.model.ops import has_kernel

    allowed = [row.name for row in arch.rows if has_kernel(row)]
    names = [row.name for row in arch.rows]
    for name in rows:
        if name not in names:
            near = nearest(name, allowed, form="{}", most=3) or "none"
            raise ValueError(f"rows: {arch.name} has no row {name!r}; nearest: {near}; allowed: {', '.join(allowed)}")
        if name not in allowed:
            raise ValueError(
                f"rows: {arch.name}.{name} is a {arch.row(name).op}, which has no kernel; allowed: {', '.join(allowed)}"
            )
    return {
        _key(choice): arch.replace(
            name=f"{arch.name}_{_key(choice)}",
            rows=tuple(
                dataclasses.replace(row, k=choice[rows.index(row.name)]) if row.name in rows else row
                for row in arch.rows
            ),
        )
        for choice in itertools.product(kernels, repeat=len(rows))
    }


def _key(choice: Sequence[int]) -> str:
    return ("" if max(choice) < 10 else "-").join(map(str, choice))


def _stage(config: Config) -> Path:
    return Path(config.run or "") / runs.SEARCH


def _joining(config: Config) -> Config:
    """The settings of this process, which goes on where another with the same --run and --storage began."""
    if config.storage is None:
        return config
    if config.run is None or config.overwrite:
        raise ValueError("storage: processes that share a search must be told the same new --run, without --overwrite")
    if re.match(r"[^/]+://[^@/]*:[^@/]*@", config.storage):
        raise ValueError(
            "storage: a password in a URL would be recorded and shown; allowed: a URL without, and the database's own "
            "way, such as PGPASSFILE"
        )
    if "://" not in config.storage:
        config = dataclasses.replace(config, storage=str(Path(config.storage).absolute()))
    until = time.monotonic() + BEGINNING
    while _stage(config).is_dir():
        if (_stage(config) / runs.CONFIG).is_file():
            return dataclasses.replace(config, resume=True)
        if time.monotonic() > until:
            break
        time.sleep(0.1)
    return config


def _check(config: Config) -> None:
    """Raise ValueError or OSError for what is wrong with the settings alone, before any slow work."""
    config.check()
    if config.precision == "auto":
        raise ValueError(
            "precision: candidates are compared, so all train in one, got auto; allowed: float32, bfloat16"
        )
    if not config.resume:
        if config.run is not None and runs.is_begun(_stage(config)) and not config.overwrite:
            raise ValueError(
                f"{config.run}: already holds a search; allowed: --resume to continue it, --overwrite to start again, "
                "or another --run"
            )
        runs.check_new_run(config.run, stage=runs.SEARCH, overwrite=config.overwrite)


def _recorded(config: Config) -> Config:
    """The settings of the search to continue, by default of the newest."""
    if config.run is None:
        begun = sorted(runs.RUNS.glob(f"*/{runs.SEARCH}/{runs.CONFIG}"), key=lambda path: path.stat().st_mtime)
        if not begun:
            raise FileNotFoundError(f"{runs.RUNS}: there is no search to resume; `{PROG} --data PATH` begins one")
        config = dataclasses.replace(config, run=begun[-1].parent.parent)
    return resume.recorded(config, _stage(config), prog=PROG)


def _quick(config: Config) -> Config:
    return dataclasses.replace(
        config,
        size=config.size or str(quick.SIZE),
        augment=quick.AUGMENT if config.augment == Strength() else config.augment,
    )


def _search(config: Config, tables: dict[str, Arch], show: Show) -> list[Candidate]:
    """Train and measure every candidate that has no result yet; each result is written at once."""
    # Without these nothing can be trained: not the fault of a candidate.
    import matplotlib  # noqa: F401

    results = known(_stage(config), tables, config.rows)
    left = [key for key, result in results.items() if result["AP50"] is None]
    show.say(f"{len(tables)} combinations of kernel sizes for {', '.join(config.rows)}; {len(left)} to train")
    started = time.perf_counter()
    for number, key in enumerate(left):
        spent = time.perf_counter() - started
        remaining = f", {_minutes(spent / number * (len(left) - number))} left" if number else ""
        results[key] = _tried(config, key, tables[key], show, f"{number + 1} of {len(left)}", remaining)
        write(_stage(config), results.values(), config.rows, config.kernels)
    return ranked(list(results.values()))


def _share(config: Config, tables: dict[str, Arch], show: Show, *, again: bool) -> list[Candidate]:
    """As `_search`, each candidate by one of the processes that came to the study."""
    import matplotlib  # noqa: F401

    from micro_yolo.pipeline.store.trials import Trials

    study = runs.read_json(_stage(config) / runs.CONFIG).get(STUDY)
    blanks = {key: blank(key, each, config.rows) for key, each in tables.items()}
    trials = Trials(config.storage or "", str(study), {key: each["kernels"] for key, each in blanks.items()})

    def results() -> list[Candidate]:
        outcomes = trials.outcomes()
        return ranked([each | outcomes.get(key, {}) for key, each in blanks.items()])

    def seen() -> None:
        write(_stage(config), results(), config.rows, config.kernels)

    def tried(key: str) -> Candidate:
        done = len(trials.outcomes())
        return _tried(config, key, tables[key], show, f"{done} of {len(tables)} are done")

    show.say(f"{len(tables)} combinations of kernel sizes for {', '.join(config.rows)}, shared by {config.storage}")
    trials.work(tried, seen, again=again)
    seen()
    return results()


def _tried(config: Config, key: str, table: Arch, show: Show, number: str, remaining: str = "") -> Candidate:
    """A candidate trained and measured, or why it could not be; not its fault are OSError, ImportError, HeldError."""
    from micro_yolo.model.keras import keras

    candidate = blank(key, table, config.rows)
    show.say(
        f"\n== {key} ({number}): {candidate['params']:,} parameters, {candidate['macs'] / 1e6:,.0f} MMAC{remaining}"
    )
    begun = time.perf_counter()
    try:
        outcome = _measure(config, key, table, show)
    except (OSError, ImportError, killed.HeldError):
        raise
    except Exception as error:
        outcome = {"error": cli.message(error)}
        show.say(f"{key} failed: {outcome['error']}")
    finally:
        # Graphs and decoded images of a candidate would otherwise stay until the last.
        keras.backend.clear_session()
        gc.collect()
    return {**candidate, **outcome, "seconds": time.perf_counter() - begun}


def _measure(config: Config, key: str, table: Arch, show: Show) -> Candidate:
    """Train one candidate, or what is left to train of it, and measure its float32 file."""
    from micro_yolo.pipeline import convert, evaluate
    from micro_yolo.pipeline.learn.session import isolated

    directory = _stage(config) / key
    stage = directory / "train"
    if not runs.is_finished(stage):
        if (stage / runs.CONFIG).is_file():
            train.run(train.Config(run=directory, resume=True, data=config.data), show)
        else:
            written = runs.write_json(_stage(config) / "tables" / f"{key}.json", table.to_json())
            given = {option.name: getattr(config, option.name) for option in dataclasses.fields(train.Config)}
            given |= {"arch": str(written), "run": directory, "resume": False, "overwrite": True}
            train.run(train.Config(**given), show)
    with isolated(config.seed):
        (file,) = convert.run(convert.Config(run=directory, float32=True, overwrite=True, score_samples=0)).files
        metrics = evaluate.run(evaluate.Config(model=file.path, data=config.data)).metrics
    epoch = runs.read_json(stage / runs.METRICS)["epoch"]
    show.say(f"{key}: AP50 {metrics['AP50']:.1f}, AP {metrics['AP']:.1f} of the float32 file")
    return {"AP50": metrics["AP50"], "AP": metrics["AP"], "epoch": epoch}


def _finish(config: Config, found: list[Candidate]) -> Result:
    """Draw the ranking, and put the winner's table beside it."""
    from micro_yolo.pipeline.show.plots import draw_search

    stage = _stage(config)
    draw_search(found, stage / PICTURE)
    best = None
    if found[0]["AP50"] is not None:
        best = runs.write_json(stage / BEST, runs.read_json(stage / found[0]["key"] / "train" / runs.ARCH))
    return Result(Path(config.run or ""), stage, found, best, Path(config.data or ""))


def _minutes(seconds: float) -> str:
    return f"{int(seconds // 60)}:{int(seconds % 60):02d}"


def tell(result: Result, show: Show) -> None:
    """The ranking, and what people want to know of it."""
    show.draw(table(result.candidates))
    show.say(f"wrote {result.stage / RANKING}, {SHEET} and {PICTURE}")
    if result.best is not None:
        best = result.candidates[0]
        show.say(f"best: {best['key']}, AP50 {best['AP50']:.1f}")
        show.say(f"{result.best}; next: {train.PROG} --arch {typed(result.best)} --data {typed(result.data)}")


def command(config: Config) -> None:
    """Search, and tell people; ValueError if candidates failed."""
    with Screen("stdout") as show:
        result = run(config, show)
        tell(result, show)
    if result.failed:
        reasons = "; ".join(f"{each['key']}: {each['error']}" for each in result.failed[:3])
        raise ValueError(
            f"{result.run}: {len(result.failed)} of {len(result.candidates)} candidates failed ({reasons}); --resume "
            "tries them again"
        )


def main() -> None:
    """The command line."""
    cli.main(Config, command, prog=PROG, description=__doc__)


if __name__ == "__main__":
    main()
