"""The C of target mcu that needs no runtime: the decoder beside tflite.decode, and names and strings of any kind."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_decoder import SANITIZED, STRICT, CDecoder, build, compiler, write_contract
from hypothesis import given
from hypothesis import strategies as st

from micro_yolo.tflite.contract import Contract, Input, Nms, Output
from micro_yolo.tflite.csource import LONGEST_STRING, comment, identifier, number, string
from micro_yolo.tflite.decode import decode
from micro_yolo.tflite.heads.yolo import CODING
from micro_yolo.tflite.targets.mcu import Mcu

SIZE = (96, 160)
ANCHORS = {"d1": ((30.5, 61.25), (116.0, 90.0)), "d2": ((10.0, 13.0), (16.125, 30.0), (33.0, 23.0))}
STRIDES = {"d1": 32, "d2": 16}


def contract(labels: tuple[str, ...] = ("a", "b", "c"), **more: Any) -> Contract:
    outputs = []
    for row, anchors in ANCHORS.items():
        cells = SIZE[0] // STRIDES[row], SIZE[1] // STRIDES[row]
        for kind, values in (("boxes", 4), ("objectness", 1), ("classes", len(labels))):
            shape = (1, *cells, len(anchors) * values)
            place = 7 * len(outputs) % 6
            outputs.append(Output(f"{row}_{kind}", kind, row, STRIDES[row], shape, "int8", 1 / 256, -128, place))
    given = Input("image", (1, *SIZE, 3), "uint8", 1.0, 0, 9)
    return Contract(
        **{
            "name": "int",
            "arch": "toy",
            "variant": "int8",
            "input": given,
            "outputs": tuple(outputs),
            "anchors": ANCHORS,
            "labels": labels,
            "model_sha256": "0" * 64,
            "coding": CODING.name,
            **more,
        }
    )


@pytest.fixture(scope="module")
def c_decoder(tmp_path_factory: pytest.TempPathFactory) -> CDecoder:
    compiler()
    folder = tmp_path_factory.mktemp("c")
    made = contract()
    return CDecoder(folder, write_contract(folder, made, [output.index for output in made.outputs]))


def grids(made: Contract, stored: dict[int, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    found: dict[str, dict[str, np.ndarray]] = {}
    for output in made.outputs:
        values = (stored[output.index].astype(np.float32) + 128) * np.float32(1 / 256)
        found.setdefault(output.row, {})[output.kind] = values.reshape(output.shape[1:])
    return found


@pytest.mark.parametrize(
    ("score", "iou", "candidates", "most"),
    [
        (0.25, 0.6, 1000, 100),
        (0.0, 0.45, 4000, 300),
        (0.001, 0.6, 1000, 100),
        (0.3, 0.5, 17, 5),
        (0.5, 0.0, 100, 100),
        (0.2, 1.0, 1, 1),
        (0.97, 0.6, 50, 50),
        (1.0, 0.6, 10, 10),
    ],
)
@pytest.mark.parametrize("seed", range(4))
def test_it_finds_what_python_finds(
    c_decoder: CDecoder, seed: int, score: float, iou: float, candidates: int, most: int
) -> None:
    made, rng = contract(), np.random.default_rng(seed)
    images = []
    for image in range(8):
        # From anything to a few values, so that equal scores abound.
        values = rng.integers(-128, 128, 256 >> image)
        images.append(
            {output.index: rng.choice(values, int(np.prod(output.shape))).astype(np.int8) for output in made.outputs}
        )
    images.append({output.index: np.full(output.shape, 127, np.int8) for output in made.outputs})
    images.append({output.index: np.full(output.shape, -128, np.int8) for output in made.outputs})
    found = c_decoder.find([[image[n] for n in range(6)] for image in images], score, iou, candidates, most)
    for image, ours in zip(images, found, strict=True):
        theirs = decode(
            grids(made, image),
            made.grids,
            SIZE,
            score_threshold=score,
            iou_threshold=iou,
            max_detections=most,
            pre_nms=candidates,
        )
        np.testing.assert_array_equal(ours.classes, theirs.classes)
        np.testing.assert_array_equal(ours.scores, theirs.scores)
        np.testing.assert_array_equal(ours.boxes_xyxy, theirs.boxes_xyxy)


@pytest.mark.parametrize(("candidates", "most"), [(0, 10), (10, 0), (0, 0)])
def test_without_room_it_finds_nothing(c_decoder: CDecoder, candidates: int, most: int) -> None:
    full = [np.full(output.shape, 127, np.int8) for output in sorted(contract().outputs, key=lambda each: each.index)]
    assert [len(found) for found in c_decoder.find([full], 0.1, 0.5, candidates, most)] == [0]


@pytest.mark.parametrize("score", [float("nan"), float("inf"), 2.0])
def test_a_threshold_that_nothing_passes(c_decoder: CDecoder, score: float) -> None:
    full = [np.full(output.shape, 127, np.int8) for output in sorted(contract().outputs, key=lambda each: each.index)]
    assert len(c_decoder.find([full], score, 0.5, 10, 10)[0]) == 0


LABELS = (
    'a "quoted" one',
    "back\\slash \\n",
    "??/ ??= trigraphs ??)",
    "Zelle, weiß, 白血球",
    "tab\tand\nline\r",
    "%s %n @NAME@",
    "*/ /* //",
    "7\x01" + "8",
    "",
    "x" * 1000,
    "é" * (LONGEST_STRING // 2),
)


def test_labels_of_any_kind_are_what_they_were(tmp_path: Path) -> None:
    made = contract(LABELS, name="größe 96 \\ */ int")
    stem = write_contract(tmp_path, made, range(6))
    main = f"""
#include <stdio.h>
#include <string.h>
#include "{stem}_contract.h"
int main(void) {{
  int k;
  for (k = 0; k < {stem}_contract.classes; k++) {{
    const char *label = {stem}_contract.labels[k];
    fwrite(label, 1, strlen(label) + 1, stdout);
  }}
  return 0;
}}
"""
    (tmp_path / "main.c").write_text(main)
    for trigraphs in ((), ("-trigraphs",)):
        sources = ("main.c", f"{stem}_contract.c", "micro_yolo.c")
        build([compiler(), *STRICT, *SANITIZED, *trigraphs, *sources, "-o", "main"], tmp_path)
        said = subprocess.run([tmp_path / "main"], capture_output=True, check=True).stdout
        assert tuple(label.decode() for label in said.split(b"\0")[:-1]) == LABELS


def test_what_no_c_string_holds_is_refused() -> None:
    assert Mcu().refuses(contract(LABELS)) is None
    assert "holds a zero" in (Mcu().refuses(contract(("a\0b",))) or "")
    long = Mcu().refuses(contract(("x" * (LONGEST_STRING + 1),))) or ""
    assert "4096 bytes in UTF-8; allowed: 4095" in long and len(long) < 250


def test_what_it_cannot_decode_is_refused() -> None:
    assert "takes int8 files" in (Mcu().refuses(contract(variant="int16x8")) or "")
    outputs = contract().outputs
    strange = (replace(outputs[0], scale=1 / 128), *outputs[1:])
    assert "scale 1/256" in (Mcu().refuses(contract(outputs=strange)) or "")
    with pytest.raises(ValueError, match="target mcu: takes int8 files, got float32; allowed: --int8"):
        Mcu().names("run", "float32", "raw")


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("int", "int"),
        ("", "net"),
        ("96 px", "net_96_px"),
        ("_Bool", "Bool"),
        ("größe", "gr_e"),
        ("…", "net"),
        ("a__b-", "a_b"),
    ],
)
def test_names(name: str, made: str) -> None:
    assert identifier(name) == made


@given(st.text())
def test_any_name_begins_a_c_name(name: str) -> None:
    made = identifier(name)
    assert made.isascii() and made.isidentifier() and made[0].isalpha() and len(made) <= 20 and "__" not in made


@given(st.text())
def test_a_comment_stays_one(text: str) -> None:
    made = comment(text.encode("utf-8", "replace").decode())
    assert made.isascii() and made.isprintable() and "*" not in made and "/" not in made and "\\" not in made


@given(st.text(st.characters(exclude_characters="\0"), max_size=300))
def test_a_string_is_plain_ascii(text: str) -> None:
    made = string(text)
    assert made.isascii() and made.isprintable() and "?" not in made


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_number_is_that_float_again(value: float) -> None:
    assert np.float32(number(value).removesuffix("f")) == np.float32(value)


def test_room_is_what_can_be_needed() -> None:
    from micro_yolo.tflite.targets.mcu import facts

    # 3 x 5 cells of two anchors and 6 x 10 of three, three classes each.
    assert facts("x", contract(), range(6))["CANDIDATES"] == str(3 * (3 * 5 * 2 + 6 * 10 * 3))
    assert facts("x", contract(nms=Nms(pre_nms=50)), range(6))["CANDIDATES"] == "50"
