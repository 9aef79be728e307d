"""Pictures made small, kept on disk: used again, never wrongly, never half."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from data_folders import write_image
from PIL import Image
from test_input import split_of

from micro_yolo.pipeline.data import input as module
from micro_yolo.pipeline.data.cache import Cache
from micro_yolo.pipeline.data.input import Images

SIZE = (32, 64)
COUNT = 6


@pytest.fixture
def split(tmp_path):
    files = [write_image(tmp_path / "set" / f"{i:05}{'x' * i}.png") for i in range(COUNT)]
    return split_of(files, [(48, 64)] * COUNT)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch, tmp_path):
    """The pictures decoded since this was last emptied."""
    names: list[str] = []

    def load(path, *args):
        # Threads that another test left may still be at work.
        if Path(path).is_relative_to(tmp_path):
            names.append(path.name)
        return decode(path, *args)

    decode = module.load_small
    monkeypatch.setattr(module, "load_small", load)
    return names


def pixels(split, folder, *, size=SIZE, rule="stretch", held=False):
    images = Images(split, size, rule, cache_bytes=1e9 if held else 0, cache=folder)
    images.hold()
    made = images.batch(np.arange(len(split)))[0]
    assert not images.notes
    return made


@pytest.mark.parametrize("held", [True, False])
def test_what_was_made_once_is_not_made_again(split, folder, decoded, held):
    expected = pixels(split, None)
    decoded.clear()
    assert np.array_equal(pixels(split, folder, held=held), expected)
    assert len(decoded) == COUNT
    decoded.clear()
    for again in (True, False):
        assert np.array_equal(pixels(split, folder, held=again), expected)
    assert not decoded
    (made,) = folder.iterdir()
    assert {path.name for path in made.iterdir()} == {"cache.json", "pictures"}
    assert json.loads((made / "cache.json").read_text())["images"] == COUNT


def test_other_sizes_rules_and_pictures_have_folders_of_their_own(split, folder, decoded):
    asked = [
        (split, SIZE, "stretch"),
        (split, SIZE, "letterbox"),
        (split, SIZE[::-1], "stretch"),
        (split.subset([0, 1, 2]), SIZE, "stretch"),
        (split.subset([2, 1, 0]), SIZE, "stretch"),
    ]
    for _ in range(2):
        for images, size, rule in asked:
            found = pixels(images, folder, size=size, rule=rule)
            assert np.array_equal(found, pixels(images, None, size=size, rule=rule))
    assert len(list(folder.iterdir())) == len(asked)
    assert len(decoded) == 3 * (3 * COUNT + 2 * 3)


def test_another_data_set_with_files_of_the_same_names_has_its_own(split, folder, tmp_path):
    files = [write_image(tmp_path / "other" / file.name) for file in split.files]
    for file in files:
        Image.fromarray(255 - np.asarray(Image.open(file))).save(file)
    other = split_of(files, [(48, 64)] * COUNT)
    for _ in range(2):
        for images in (split, other):
            assert np.array_equal(pixels(images, folder), pixels(images, None))
    assert not np.array_equal(pixels(split, folder), pixels(other, folder))
    assert len(list(folder.iterdir())) == 2


def test_a_picture_that_has_changed_is_made_again(split, folder, decoded):
    pixels(split, folder)
    write_image(split.files[2].with_name("other"), format="png").replace(split.files[2])
    os.utime(split.files[2], ns=(0, 1))
    decoded.clear()
    assert np.array_equal(pixels(split, folder), pixels(split, None))
    assert decoded == [split.files[2].name, *(file.name for file in split.files)]


@pytest.mark.parametrize("harm", ["cut", "other bytes", "zeros", "gone"])
def test_what_is_damaged_or_half_written_is_made_again(split, folder, decoded, harm):
    expected = pixels(split, folder)
    (file,) = folder.glob("*/pictures")
    rows = bytearray(file.read_bytes())
    row = 4096 * 2
    if harm == "cut":
        file.write_bytes(rows[: 3 * row + 100])
    elif harm == "other bytes":
        rows[3 * row + 500] ^= 1
        file.write_bytes(rows)
    elif harm == "zeros":
        file.write_bytes(rows[: 3 * row] + bytes(len(rows) - 3 * row))
    else:
        file.unlink()
    decoded.clear()
    assert np.array_equal(pixels(split, folder), expected)
    again = {"cut": (3, 4, 5), "other bytes": (3,), "zeros": (3, 4, 5), "gone": range(COUNT)}[harm]
    assert sorted(decoded) == [split.files[i].name for i in again]
    decoded.clear()
    assert np.array_equal(pixels(split, folder), expected)
    assert not decoded


def test_a_cache_that_cannot_be_read_is_done_without(split, folder, monkeypatch):
    expected = pixels(split, folder)

    def broken(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "preadv", broken)
    assert np.array_equal(pixels(split, folder), expected)


def test_what_cannot_be_read_is_not_kept(split, folder):
    good = split.files[1].read_bytes()
    split.files[1].write_text("no image")
    images = Images(split, SIZE, "stretch", cache_bytes=0, cache=folder)
    images.batch(np.arange(COUNT))
    assert [note.startswith(f"skipped {split.files[1]}: not an image") for note in images.notes] == [True]
    split.files[1].write_bytes(good)
    assert np.array_equal(pixels(split, folder), pixels(split, None))


def fill(split, folder, order):
    images = Images(split, SIZE, "stretch", cache_bytes=0, cache=folder)
    for index in order:
        images.batch(np.array([index]))


def test_two_processes_fill_one_cache(split, folder, decoded):
    context = multiprocessing.get_context("spawn")
    orders = [list(range(COUNT)), list(range(COUNT))[::-1]]
    processes = [context.Process(target=fill, args=(split, folder, order)) for order in orders]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    expected = pixels(split, None)
    decoded.clear()
    assert np.array_equal(pixels(split, folder), expected)
    assert not decoded
    assert len(list(folder.iterdir())) == 1


def test_what_others_have_in_the_folder_stays(split, folder):
    folder.mkdir()
    (folder / "letter.txt").write_text("dear")
    pixels(split, folder)
    assert (folder / "letter.txt").read_text() == "dear"


@pytest.mark.parametrize("contents", [None, "{", '{"version": 0}'])
def test_a_folder_of_that_name_that_is_no_such_cache_is_left_alone(split, folder, contents):
    pixels(split, folder)
    (made,) = folder.iterdir()
    shutil.rmtree(made)
    made.mkdir()
    (made / "pictures").write_text("mine")
    if contents is not None:
        (made / "cache.json").write_text(contents)
    with pytest.raises(
        ValueError, match=r"^cache: .*: must be a cache of these pictures, got other files; allowed: "
    ) as error:
        pixels(split, folder)
    assert "\n" not in str(error.value)
    assert (made / "pictures").read_text() == "mine"


def test_a_file_in_the_folders_place_is_an_error(split, folder):
    folder.write_text("a file")
    with pytest.raises(OSError, match=r"^cache: .*: cannot be written to \(Not a directory\); allowed: "):
        pixels(split, folder)
    assert folder.read_text() == "a file"


def test_a_folder_that_may_not_be_written_to_is_an_error(split, folder, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OSError, match=r"^cache: .*: cannot be written to \(Permission denied\); allowed: "):
        pixels(split, folder)


def test_too_little_room_is_told_before_anything_is_made(split, folder, decoded, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 1 << 10))
    with pytest.raises(OSError, match=r"^cache: .*: 6 pictures need 0\.0 GiB more, got 0\.0 GiB of room; allowed: "):
        pixels(split, folder)
    assert not decoded and not folder.exists()


def test_there_is_room_for_what_is_there_already(split, folder, monkeypatch):
    pixels(split, folder)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 0))
    pixels(split, folder)


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("write", [full, lambda *_: 100], ids=["refused", "short"])
def test_a_disk_that_fills_up_stops_what_has_not_begun_and_is_told_of_by_what_has(split, folder, monkeypatch, write):
    monkeypatch.setattr(os, "pwritev", write)
    with pytest.raises(OSError, match=r"^cache: .*: cannot be written to \(No space left on device\); allowed: "):
        pixels(split, folder, held=True)
    images = Images(split, SIZE, "stretch", cache_bytes=0, cache=folder)
    for _ in range(2):
        found = images.batch(np.arange(COUNT))[0]
        assert np.array_equal(found, pixels(split, None))
    (note,) = images.notes
    assert "No space left on device" in note and note.endswith("; goes on without")


def test_killed_while_the_folder_is_made(split, folder, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            Cache(folder, split, SIZE, "stretch")
    assert np.array_equal(pixels(split, folder), pixels(split, None))
