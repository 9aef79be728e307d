"""A .zip of labelled images, unpacked beside it once."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from pathlib import Path

from micro_yolo.pipeline.data import making


def unpacked(path: Path) -> Path:
    """The folder with what is in a .zip: beside it, named after it and its contents, made when it is first asked for.

    A single folder that holds all is the one meant.

    Raises:
        ValueError: it is no .zip, is damaged or locked, or what is in it would not fit on the disk.
        OSError: the folder cannot be made.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            facts = sorted((info.filename, info.CRC, info.file_size) for info in infos)
            digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:8]
            target = path.with_name(f"{path.stem}.unpacked-{digest}")
            if not target.is_dir():
                _unpack(archive, infos, path, target)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{path}: must be a .zip that can be unpacked, got {error}") from None
    return _inmost(target)


def _unpack(archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo], path: Path, target: Path) -> None:
    wanted, free = sum(info.file_size for info in infos), shutil.disk_usage(path.parent).free
    if wanted > free:
        raise ValueError(f"{path}: needs {wanted:,} bytes unpacked, and the disk has {free:,}")
    try:
        with making.folder(target) as part:
            for info in infos:
                archive.extract(info, part)
    except OSError as error:
        hint = f"unpack it yourself: unzip {path} -d FOLDER"
        raise OSError(f"{path}: cannot be unpacked beside it ({error.strerror or error}); {hint}") from None


def _inmost(folder: Path) -> Path:
    names = [name for name in os.listdir(folder) if not name.startswith((".", "__MACOSX"))]
    only = folder / names[0] if len(names) == 1 else None
    return _inmost(only) if only is not None and only.is_dir() else folder
