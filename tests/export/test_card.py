"""The model card: what it says is so, what others wrote in it is words, and what people wrote stays."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import markdown
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from micro_yolo.pipeline import convert, evaluate, stages
from micro_yolo.pipeline.card import markdown as writing
from micro_yolo.pipeline.data import load
from micro_yolo.pipeline.data.fingerprint import content
from micro_yolo.pipeline.store import runs
from micro_yolo.tflite import contract as contracts
from micro_yolo.tflite.package import folder_name

HEADINGS = (
    "Model details",
    "Intended use",
    "Factors",
    "Metrics",
    "Evaluation data",
    "Training data",
    "Quantitative analyses",
    "Ethical considerations",
    "Caveats and recommendations",
)
HOSTILE = (
    "a|b",
    "**bold** _it_ `code`",
    "<script>alert(1)</script>",
    "<!-- /measured -->",
    "[x](javascript:alert(1)) ![y](http://example.org/z.png)",
    "&lt;b&gt; https://example.org www.example.org a@b.c @user :tada: $x$ ~~no~~ ==x== {#id} {{ 7 }}",
    "\\| \\` \\",
    "# 1. - +",
    "| --- |",
    "é 日本 שלום",
)
READER = MarkdownIt("commonmark", {"html": True}).enable("table")


def cells(text: str) -> list[list[str]]:
    """The rows of all tables, as a reader of Markdown shows them."""
    rows: list[list[str]] = []
    tokens = READER.parse(text)
    for number, token in enumerate(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            rows[-1].append(shown(tokens[number + 1]))
    return rows


def shown(token: Token) -> str:
    return "".join(child.content for child in token.children or ())


def row(text: str, name: str, width: int) -> list[str]:
    (found,) = (each for each in cells(text) if each[:1] == [name] and len(each) == width)
    return found


def kinds(text: str) -> set[str]:
    """What a reader of Markdown takes for more than words."""
    tokens = READER.parse(text)
    return {child.type for token in tokens for child in token.children or ()} | {
        token.type for token in tokens if token.type.startswith("html")
    }


@pytest.mark.parametrize("text", HOSTILE)
def test_words_of_others_are_words(text: str) -> None:
    written = writing.table(("class", "n"), [(writing.words(text), "1")])
    assert cells(written) == [["class", "n"], [" ".join(text.split()), "1"]]
    assert kinds(written) == {"text", "text_special"} & kinds(written)
    page = markdown.markdown(written, extensions=["tables", "attr_list", "fenced_code"])
    assert set(re.findall(r"<\s*/?\s*(\w+)", page)) == {"table", "thead", "tbody", "tr", "th", "td"}
    assert "://" not in writing.words(text) and "<!--" not in writing.words(text)


@given(st.text(max_size=40))
def test_any_text_is_one_cell(text: str) -> None:
    from micro_yolo.model.printable import harmless

    written = writing.words(text)
    assert "\n" not in written and not set("<>|") & set(written)
    assert cells(writing.table(("class", "n"), [(f"x{written}x", "1")]))[1:] == [
        [f"x{harmless(' '.join(text.split()))}x", "1"]
    ]


def test_blocks_are_found_again() -> None:
    text = f"a\n\n{writing.block('one', 'first')}\n\n{writing.block('two', writing.words('<!-- /one -->'))}\n"
    assert writing.inside(text, "one") == "first" and writing.inside(text, "three") is None
    changed = writing.put(text, "one", r"\1 second" + "\n\nthird")
    assert writing.inside(changed, "one") == r"\1 second" + "\n\nthird"
    assert writing.put(changed, "one", "first") == text


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/home/me/set", "set"), ("/home/me/set/", "set"), (r"C:\Users\me\set", "set"), ("set", "set"),
        ("/a/one.json,/b/two.json", "two.json"), ("", None), (None, None), ("/", ""),
    ],
)  # fmt: skip
def test_a_path_tells_its_last_name_alone(path: str | None, expected: str | None) -> None:
    assert folder_name(path) == expected


@pytest.fixture(scope="module")
def carded(briefest_run: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with what a training records, begun with the weights of others, and its int8 file."""
    run = Path(shutil.copytree(briefest_run, tmp_path_factory.mktemp("carded") / "tiny|run"))
    where = run / "train" / runs.CONFIG
    start = {"name": "seen_<much>", "trained_on": "COCO", "source": "Someone", "licence": "Apache-2.0"}
    settings = {"recipe": {"epochs": 7}, "batch": 4, "seed": 3, "val_fraction": 0.2, "init": "auto"}
    facts = {"content": content(load(tiny_data)), "images": {"train": 12, "val": 4}, "start": start}
    runs.write_json(where, runs.read_json(where) | facts | {"settings": settings})
    runs.write_json(run / "train" / runs.METRICS, {"AP": 12.34, "AP50": 56.78})
    convert.run(convert.Config(run=run, int8=True, samples=8, author="A *star*", model_version="2_0"))
    return run


@pytest.fixture
def own(carded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(carded, tmp_path / "tiny|run"))


def text_of(run: Path, name: str = "model_int8") -> str:
    return (run / "export" / f"{name}.md").read_text(encoding="utf-8")


def test_it_says_what_is_known(carded: Path, tiny_data: Path) -> None:
    text, model = text_of(carded), carded / "export" / "model_int8.tflite"
    contract, dataset = contracts.load(model), load(tiny_data)
    tokens = READER.parse(text)
    places = [n for n, token in enumerate(tokens) if token.type == "heading_open" and token.tag == "h2"]
    heads = [shown(tokens[n + 1]) for n in places]
    assert tuple(heads) == HEADINGS
    assert text.startswith("# Model card: tiny&#124;run, int8\n")
    assert row(text, "SHA-256 of the file", 2)[1] == runs.sha256(model) == contract.model_sha256
    assert row(text, "size of the file", 2)[1] == f"{model.stat().st_size:,} bytes"
    weights = "train/model.weights.h5"
    assert row(text, f"SHA-256 of {weights}", 2)[1] == contract.parents[weights]
    assert row(text, "author", 2)[1] == "A *star*" and row(text, "version", 2)[1] == "2_0"
    assert row(text, "licence of the model", 2)[1] == "not stated"
    assert row(text, "licence", 2)[1] == "Apache-2.0" and row(text, "name", 2)[1] == "seen_<much>"
    assert "epochs 7, training images 12, batch 4, seed 3, AP 12.3, AP50 56.8 (validation images" in text
    assert "its ranges measured on 8 training images" in text
    for name, split in dataset.splits.items():
        found = row(text, name, 5)
        assert found[1:3] == [str(len(split)), str(len(split.classes))] and len(found[4]) == 16
    for number, label in enumerate(dataset.names):
        boxes = [str((split.classes == number).sum()) for split in dataset.splits.values()]
        assert row(text, label, 3)[1:] == boxes
        cut = contract.thresholds.classes[number] if contract.thresholds else None
        shares = (100 * n for n in (cut.f1, cut.precision, cut.recall)) if cut else ()
        expected = [f"{cut.threshold:.2f}", *(f"{share:.1f}" for share in shares)] if cut else ["-"] * 4
        assert row(text, label, 8)[2:] == [*expected, "not measured", "not measured"]
    assert "The data set says itself which they are." in text
    assert "not measured. `python -m pipeline.evaluate --model FILE`" in text
    assert f"{sum(len(each) == 0 for each in rows_of(dataset))} of the 4 validation images are such" in text


def rows_of(dataset: Any) -> Iterator[list[int]]:
    split = dataset.splits["val"]
    for index in range(len(split)):
        yield split.classes[split.rows(index)].tolist()


def test_it_names_no_place(carded: Path, tiny_data: Path) -> None:
    text = text_of(carded)
    for path in (carded, tiny_data, Path.cwd(), Path.home()):
        assert str(path) not in text and str(path.parent) + "/" not in text
    assert not re.search(r"(?<![\w/&;])/\w+/", text.replace("</", ""))


def test_the_metadata_has_it_in_short(carded: Path) -> None:
    data = (carded / "export" / "model_int8.tflite").read_bytes()
    cut = contracts.load(carded / "export" / "model_int8.tflite").thresholds
    assert b"begun with seen_<much> (Someone; Apache-2.0); learned from 12 images of set" in data
    assert cut is None or f"F1 {cut.all.f1:.3f} above score {cut.all.threshold:g} on 4".encode() in data


def test_measuring_fills_it_in(own: Path, believed: Path, tmp_path: Path) -> None:
    model, before = own / "export" / "model_int8.tflite", text_of(own)
    found = evaluate.run(evaluate.Config(model=model))
    text = text_of(own)
    for name, scores in found.metrics["per_class"].items():
        points = [f"{scores[each]:.1f}" if scores["boxes"] else "-" for each in ("AP", "AP50")]
        assert row(text, name, 8)[-2:] == points
    assert row(text, "all classes", 8)[-2:] == [f"{found.AP:.1f}", f"{found.AP50:.1f}"]
    assert row(text, "set", 9)[1:5] == ["val", "4", f"{found.AP:.1f}", f"{found.AP50:.1f}"]
    assert "ms an image for the model" in text and "one thread" in text
    evaluate.run(evaluate.Config(model=model, data=believed, split="train", threads=2))
    assert sorted(each[1] for each in cells(text_of(own)) if len(each) == 9 and each[0] == "set") == ["train", "val"]
    # All else is as it was.
    assert writing.put(text_of(own), "measured", "") == writing.put(before, "measured", "")
    # Another file's figures are none of its own.
    for path in own.glob("metrics_*.json"):
        runs.write_json(path, runs.read_json(path) | {"sha256": "0" * 64})
    evaluate.run(evaluate.Config(model=model, data=believed, split="train", out=tmp_path / "out"))
    rows = [each for each in cells(text_of(own)) if len(each) == 9]
    assert [each[:2] for each in rows[1:]] == [["set", "train"]]
    assert row(text_of(own), "all classes", 8)[-2:] == ["not measured"] * 2


def test_stages_fill_in_the_speed(own: Path) -> None:
    made = stages.run(stages.Config(run=own, runs=2))
    whole, int8 = (text_of(own, name) for name in ("train/model_float32", "model_int8"))
    for entry, text in zip(made.entries, (whole, int8), strict=True):
        assert f"{entry.median_ms:.2f} ms an inference" in text


def test_what_people_wrote_stays(own: Path) -> None:
    path = own / "export" / "model_int8.md"
    mine = "Counts *cells* on slides.\n\nNot for diagnosis."
    path.write_text(writing.put(text_of(own), "yours: intended use", mine), encoding="utf-8")
    evaluate.run(evaluate.Config(model=path.with_suffix(".tflite")))
    assert writing.inside(text_of(own), "yours: intended use") == mine
    config = convert.Config(run=own, int8=True, samples=8, score_samples=0)
    with pytest.raises(ValueError, match="already exists"):
        convert.run(config)
    path.with_suffix(".tflite").unlink()
    with pytest.raises(ValueError, match=r"model_int8\.md: already exists; allowed: --overwrite"):
        convert.run(config)
    convert.run(replace(config, overwrite=True))
    assert writing.inside(text_of(own), "yours: intended use") == mine
    assert "From which score on" in text_of(own)


@pytest.mark.parametrize("damage", ["gone", "marks", "not text", "folder"])
def test_a_card_that_cannot_be_filled_in_is_left(own: Path, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = own / "export" / "model_int8.md"
    path.unlink()
    if damage == "marks":
        path.write_text("mine\n")
    elif damage == "not text":
        path.write_bytes(b"\xff<!-- measured -->")
    elif damage == "folder":
        path.mkdir()
    evaluate.command(evaluate.Config(model=path.with_suffix(".tflite")))
    said = " ".join(capsys.readouterr().err.split())
    assert ("the model card was left as it was" in said) == (damage in ("not text", "folder"))
    assert path.exists() == (damage != "gone")
    assert damage != "marks" or path.read_text() == "mine\n"


def test_names_of_classes_are_words(own: Path, tmp_path: Path, tiny_data: Path) -> None:
    """In config.json and in the data set, as whoever sends a run or a data set has them."""
    names = [*HOSTILE[:4], HOSTILE[6]]
    where, data = own / "train" / runs.CONFIG, Path(shutil.copytree(tiny_data, tmp_path / "se`t"))
    for split in ("train", "val"):
        labels = json.loads((data / f"instances_{split}.json").read_text())
        for category, name in zip(labels["categories"], names, strict=True):
            category["name"] = name
        (data / f"instances_{split}.json").write_text(json.dumps(labels))
    facts = {"names": names, "data": str(data), "content": content(load(data))}
    runs.write_json(where, runs.read_json(where) | facts)
    (file,) = convert.run(convert.Config(run=own, int8=True, samples=8, overwrite=True)).files
    evaluate.run(evaluate.Config(model=file.path))
    text = text_of(own)
    for name in names:
        assert row(text, name, 8) and row(text, name, 3)
    assert row(text, "se`t", 9)
    assert kinds(text) <= {"text", "text_special", "code_inline", "link_open", "link_close", "html_block", "softbreak"}
    marks = [token.content.strip() for token in READER.parse(text) if token.type == "html_block"]
    blocks = ("yours: intended use", "measured", "yours: ethical considerations")
    assert marks == [f"<!-- {mark}{name} -->" for name in blocks for mark in ("", "/")]
    assert writing.inside(text, "measured") is not None


def test_without_the_data_it_says_so(own: Path) -> None:
    where = own / "train" / runs.CONFIG
    recorded = runs.read_json(where)
    runs.write_json(where, recorded | {"data": "/gone/far/away"})
    convert.run(convert.Config(run=own, float32=True))
    text = text_of(own, "model_float32")
    assert row(text, "train", 5)[1:4] == ["12", str(recorded["content"]["train"]["boxes"]), "not counted"]
    assert "no score threshold was measured" in text and "/gone" not in text and "away" in text
    runs.write_json(where, {name: said for name, said in recorded.items() if name not in ("content", "start", "data")})
    convert.run(convert.Config(run=own, float32=True, overwrite=True))
    text = text_of(own, "model_float32")
    assert "Not known: how many images and boxes was not recorded." in text and "None of others." in text
