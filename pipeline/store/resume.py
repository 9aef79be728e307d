"""Settings that outlive a process: a stage's Config read back from its config.json, for ``--resume``. No TensorFlow."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from micro_yolo.model.check_json import before
from micro_yolo.model.printable import typed
from micro_yolo.pipeline.store import runs
from micro_yolo.tflite.typed import read as read_typed

ConfigT = TypeVar("ConfigT")
# What a command is told anew each time: where the stage is and what to do with it.
ASKED_ANEW = ("run", "resume", "overwrite")
# What changes nothing that is made, and may be told anew where the machine or the disk has become another. Of data that
# moved `pipeline.data.fingerprint` tells whether it is the same.
MAY_CHANGE = ("cache", "cache_gib", "data")


@dataclasses.dataclass(frozen=True)
class Held:
    """What a config.json says of the images of a split, see `pipeline.data.fingerprint`; an older one of no files."""

    images: int
    boxes: int
    sha256: str
    files: str = ""


@dataclasses.dataclass(frozen=True)
class _Parent:
    sha256: str
    table: str | None = None


@dataclasses.dataclass(frozen=True)
class _Facts:
    images: dict[str, int] | None = None
    content: dict[str, Held] | None = None
    parent: _Parent | None = None


def facts(stage: Path) -> dict[str, Any]:
    """What the config.json of a half-made stage says besides settings. ValueError unless it has the types it had."""
    file = stage / runs.CONFIG
    found = runs.read_json(file)
    read_typed(_Facts, found, str(file))
    names, data = found.get("names"), found.get("data")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ValueError(f"{file}.names: must be a list of strings, got {names!r:.80}")
    if data is not None and not isinstance(data, str):
        raise ValueError(f"{file}.data: must be a string, got {data!r:.80}")
    return typing.cast(dict[str, Any], found)


def check_parent(stage: Path, parent: Path) -> None:
    """Raise ValueError if the stage that a half-made one goes on from has other weights or another table by now."""
    had, now = facts(stage).get("parent") or {}, runs.origin(parent)
    other = "weights" if had.get("sha256") != now["sha256"] else "rows"
    if other == "weights" or had.get("table", now["table"]) != now["table"]:
        raise ValueError(f"{stage}: began with other {other} than {parent} has now; allowed: --overwrite")


def recorded(config: ConfigT, stage: Path, *, prog: str) -> ConfigT:
    """The settings with which the half-made `stage` was begun; `config` brings where it is, and what may change.

    Data is looked for where it was, whatever the working directory, unless `config` says where it is now.

    Args:
      config: a frozen dataclass, as the command line gave it.
      stage: the stage's directory.
      prog: how the user starts the command, such as ``python -m pipeline.train``.

    Raises:
      ValueError: the stage is finished, recorded no settings, or `config` asks for others than it recorded.
      FileNotFoundError: the data is no longer where it was.
    """
    where = stage.parent
    if runs.is_finished(stage):
        raise ValueError(f"{where}: its {stage.name} stage is finished; allowed: another --run, or --overwrite")
    if not stage.is_dir():
        raise ValueError(f"{where}: has no {stage.name} stage to continue; `{prog} --run {typed(where)}` begins one")
    file = stage / runs.CONFIG
    if not file.is_file():
        raise ValueError(f"{where}: was stopped before it recorded its settings; allowed: --overwrite to start again")
    said = facts(stage)
    found = from_json(type(config), said, file)
    for option in dataclasses.fields(typing.cast(Any, config)):
        if option.name in ASKED_ANEW + MAY_CHANGE:
            continue
        for name, asked, had, default in _single(option, config, found):
            if asked not in (had, default):
                raise ValueError(
                    f"{where}: --resume goes on with the recorded {name}, {had}, got {asked}; leave the option out"
                )
    options = {option.name: option for option in dataclasses.fields(typing.cast(Any, config))}
    changed = [name for name in MAY_CHANGE if name in options and getattr(config, name) != _default(options[name])]
    anew = {name: getattr(config, name) for name in (*ASKED_ANEW, *changed)}
    if "data" in options and typing.cast(Any, found).data is not None and "data" not in changed:
        anew["data"] = _place(found, said.get("data"), f"{prog} --run {typed(where)} --resume")
    return dataclasses.replace(typing.cast(Any, found), **anew)


def _single(option: dataclasses.Field[Any], config: Any, found: Any) -> Iterator[tuple[str, Any, Any, Any]]:
    """Name, what is asked for, what was recorded and the default, of each setting by itself.

    Of a recipe one may be asked for that was given, beside one that was left to us and is recorded as it came out.
    """
    sides = getattr(config, option.name), getattr(found, option.name), _default(option)
    if dataclasses.is_dataclass(sides[2]):
        for inner in dataclasses.fields(sides[2]):
            yield (inner.name, *(getattr(side, inner.name) for side in sides))
    else:
        yield (option.name, *sides)


def _place(found: Any, recorded: str | None, again: str) -> Path:
    """Where the data is, as it was recorded whole or as it was typed."""
    from micro_yolo.pipeline.data.loader import is_there

    for place in (recorded, found.data):
        if place and is_there(place):
            return Path(place)
    raise FileNotFoundError(
        f"{recorded or found.data}: the data of this stage is no longer there; `{again} --data PATH` goes on with it "
        "where it is now"
    )


def from_json(config_type: type[ConfigT], value: Any, file: Path) -> ConfigT:
    """A `config_type` from what `runs.record` wrote. Raises ValueError if it is not one."""
    try:
        return typing.cast(ConfigT, _build(config_type, value["settings"]))
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{file}: must hold the settings of this command, got {reason}") from None


def _build(kind: Any, value: Any) -> Any:
    """`value`, plain JSON, as the type annotation `kind` wants it."""
    if dataclasses.is_dataclass(kind):
        kinds = typing.get_type_hints(kind)
        given = {name: _build(kinds.get(name), item) for name, item in dict(value).items()}
        return typing.cast(Any, kind)(**{**before(kind), **given})
    if value is None or kind is None:
        return value
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return _build(next(each for each in typing.get_args(kind) if each is not type(None)), value)
    if typing.get_origin(kind) is tuple:
        return tuple(_build(typing.get_args(kind)[0], item) for item in value)
    wanted: Any = {Path: str, float: (float, int)}.get(kind, kind)
    plain = kind in (bool, int, float, str, Path)
    if plain and (not isinstance(value, wanted) or (kind is not bool and isinstance(value, bool))):
        raise TypeError(f"{value!r:.80} where a {kind.__name__} was")
    return Path(value) if kind is Path else value


def _default(option: dataclasses.Field[Any]) -> Any:
    return option.default_factory() if option.default_factory is not dataclasses.MISSING else option.default
