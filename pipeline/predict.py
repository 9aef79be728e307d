"""Find objects in pictures and videos with any .tflite of ours; needs nothing but the file, and no TensorFlow.

    python -m pipeline.predict --model runs/cells/export/model_int8.tflite photo.jpg folder/ 'shots/*.png' --out out/
    python -m pipeline.predict --model runs/cells/export/model_int8.tflite clip.mp4 --track

See docs/predict.md.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.screen import QUIET, Screen, Show
from micro_yolo.pipeline.store import killed
from micro_yolo.pipeline.watch import sources
from micro_yolo.tflite import processes

if TYPE_CHECKING:
    from micro_yolo.pipeline.measure.finders import ForeignFile, OurFile

PROG = "python -m pipeline.predict"


@dataclass(frozen=True)
class Config:
    """Find objects in pictures and videos; write them with boxes, labels and scores, and detections.json."""

    images: tyro.conf.Positional[tuple[Path, ...]]
    """Pictures, videos, folders that are searched for both, patterns such as '*.jpg', or the number of a camera."""
    model: Path
    """The .tflite."""
    out: Path = Path("out")
    """Folder for the results; it is not searched."""
    score: float | None = None
    """Show detections that score more than this, 0..1; by default the contract's."""
    iou: float | None = None
    """Of two boxes of a class that overlap more than this the weaker goes; by default the contract's."""
    tiles: bool = False
    """Look at overlapping windows of each picture too: for small objects in large pictures."""
    tile_side: int | None = None
    """With --tiles: side of a window, in pixels of the picture; by default the model's input."""
    track: bool = False
    """Follow the objects of a video: each gets a number."""
    frames: int | None = None
    """Of a video or camera look at this many frames; by default at all, of a camera until Ctrl-C."""
    draw: bool = True
    """Write pictures and videos with boxes."""
    csv: bool = False
    """Write detections.csv too, a line for each object."""
    txt: bool = False
    """Write labels/NAME.txt too, in YOLO's form, as a start for labelling."""
    save_crops: bool = False
    """Write each object too, cut out, as crops/CLASS/NAME-1.jpg."""
    threads: int = 1
    """Threads of the interpreter."""
    overwrite: bool = False
    """Replace results that are already in the folder."""


@dataclass(frozen=True)
class Predicted:
    """What was found.

    Attributes:
        out: folder of the results.
        detections: path of detections.json.
        images: for each picture that could be read its file, the drawn picture, its size and its detections.
        videos: for each video or camera its file, the drawn video, its size, frames, and the path of its detections.
        unreadable: for each other its file and why.
    """

    out: Path
    detections: Path
    images: tuple[dict[str, Any], ...]
    videos: tuple[dict[str, Any], ...]
    unreadable: tuple[dict[str, str], ...]


def run(config: Config, show: Show = QUIET) -> Predicted:
    """Predict as `config` says and write the results.

    A file without a contract is used if it is a detector with the four outputs of SSD style, see tflite.foreign.
    Raises ValueError or OSError, in one line, for what a user can mend. What cannot be read is warned of and named in
    detections.json; only if nothing can be read it is an error.
    """
    from micro_yolo.pipeline.watch.written import LABELS

    _check(config)
    processes.warm()
    with killed.alone(config.out, "another --out"):
        for folder in (config.out, config.out / LABELS):
            killed.sweep(folder)
        killed.sweep(config.out / sources.CROPS, below=True)
        return _predicted(config, show)


def _predicted(config: Config, show: Show) -> Predicted:
    from micro_yolo.pipeline.measure.tiles import looking
    from micro_yolo.pipeline.show.draw import FONTS, unwritable
    from micro_yolo.pipeline.watch.viewer import Viewer
    from micro_yolo.pipeline.watch.written import Forms, planned, results

    named = sources.find(config.images, config.out)
    if named.own:
        show.warn(f"left out {named.own} pictures that predictions wrote")
    opened, threshold = _open(config)
    finder, window = looking(opened, config.tiles, config.tile_side)
    moving: tuple[Path | int, ...] = (*named.videos, *named.cameras)
    names = _names(named, config.out)
    forms = Forms(config.draw, config.csv, config.txt, config.save_crops)
    drawn = [f"{stem}{suffix}" for stem, suffix in names.values()] if config.draw else []
    lines = [f"{names[source][0]}.jsonl" for source in moving]
    paths = planned(config.out, forms, [*drawn, *lines], [names[file][0] for file in named.pictures])
    if not config.overwrite:
        # What was stopped half-way, by a full disk or a kill, the same command does again.
        half = killed.half_written(config.out)
        there = next((path for path in paths if path.exists() and os.path.abspath(path) not in half), None)
        if there:
            raise ValueError(f"{there}: already exists; allowed: another --out, or --overwrite")
    if config.draw and (unknown := unwritable(opened.labels)):
        show.warn(
            f"{', '.join(unknown)[:120]}: no font here has the letters, so boxes show class numbers; "
            f"install one of {', '.join(FONTS[:3])} (on Debian `apt install fonts-noto-cjk`)"
        )
    images: list[dict[str, Any]] = []
    videos: list[dict[str, Any]] = []
    unreadable: list[dict[str, str]] = []
    with killed.pending(config.out, paths), results(config.out, forms) as written:
        viewer = Viewer(opened, finder, threshold, config.track, config.frames, written, show)
        for entry in viewer.pictures(named.pictures, [names[file] for file in named.pictures]):
            (unreadable if "error" in entry else images).append(entry)
        for source in moving:
            try:
                videos.append(viewer.video(source, names[source][0]))
            except (ValueError, ModuleNotFoundError) as error:
                if isinstance(error, ModuleNotFoundError) and not images:
                    raise
                reason = str(error) if isinstance(error, ValueError) else f"{source}: {cli.lacking(error)}"
                unreadable.append({"file": sources.text(str(source)), "error": sources.text(reason)})
        for entry in unreadable:
            show.warn(f"skipped {entry['error']}")
        if not (images or videos):
            raise ValueError(f"none of the {len(unreadable)} pictures can be read; {unreadable[0]['error']}")
        record = written.record(
            {
                "model": str(config.model),
                "model_sha256": opened.sha256,
                "labels": opened.labels,
                "score_threshold": threshold,
                "iou_threshold": opened.facts.iou_threshold,
                "window": window,
                "images": images,
                "videos": videos,
                "unreadable": unreadable,
            },
            opened.labels,
        )
    return Predicted(config.out, record, tuple(images), tuple(videos), tuple(unreadable))


def _check(config: Config) -> None:
    for name, value in (("score", config.score), ("iou", config.iou)):
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{name}: must be in 0..1, got {value}")
    if config.frames is not None and config.frames < 1:
        raise ValueError(f"frames: must be at least 1, got {config.frames}")


def _open(config: Config) -> tuple[OurFile | ForeignFile, float]:
    """The file, and the score from which objects are shown."""
    from micro_yolo.pipeline.measure.finders import open_file

    opened = open_file(config.model, score=config.score, iou=config.iou, threads=config.threads)
    threshold = opened.facts.score_threshold
    if config.track:
        from micro_yolo.pipeline.watch.tracks import FAINT

        opened = open_file(config.model, score=FAINT * threshold, iou=config.iou, threads=config.threads)
    return opened, threshold


def _names(named: sources.Named, out: Path) -> dict[Path | int, tuple[str, str]]:
    """(stem, suffix) of the results of each source: its own name, numbered where several have it."""
    from micro_yolo.pipeline.watch.written import picture_suffix

    originals = {file.absolute() for file in (*named.pictures, *named.videos)}
    every: tuple[Path | int, ...] = (*named.pictures, *named.videos, *named.cameras)
    names: dict[Path | int, tuple[str, str]] = {}
    taken = {Path(sources.RECORD).stem, "classes"}
    for source in every:
        if isinstance(source, int):
            stem, suffix = f"camera-{source}", ".mp4"
        else:
            stem, suffix = sources.text(source.stem), ".mp4" if source in named.videos else picture_suffix(source)
        name, number = stem, 1
        # Lower case, since on some file systems A.jpg and a.jpg are one file.
        while name.lower() in taken or (out / f"{name}{suffix}").absolute() in originals:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.lower())
        names[source] = (name, suffix)
    return names


def tell(predicted: Predicted, show: Show) -> None:
    """What people want to know of it."""
    skipped = f", {len(predicted.unreadable)} skipped" if predicted.unreadable else ""
    for video in predicted.videos:
        followed = "" if video["tracks"] is None else f", {video['tracks']} followed"
        where = predicted.out / (video["picture"] or video["frames_file"])
        show.say(f"{video['file']}: {video['detections']} objects in {video['frames']} frames{followed}: {where}")
    found = sum(len(image["detections"]) for image in predicted.images)
    looked_at = f"{found} objects in {len(predicted.images)} pictures" if predicted.images else "all of it"
    show.say(f"{looked_at}{skipped}: {predicted.detections}")


def command(config: Config) -> None:
    """Predict and tell."""
    with Screen() as show:
        tell(run(config, show), show)


def main() -> None:
    """The command line."""
    cli.main(Config, command, prog=PROG, description=__doc__)


if __name__ == "__main__":
    main()
