"""Target mcu, whole: TFLM runs the network, the C that was written finds what Python finds, and compilers take it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_decoder import CROSS, SANITIZED, SECTIONS, STRICT, CDecoder, build, compiler, cross_compiled

from micro_yolo.model.spec import Arch
from micro_yolo.pipeline import convert, edge
from micro_yolo.tflite import budget, edit, inspect, tflm
from micro_yolo.tflite import contract as contracts
from micro_yolo.tflite.budget import Budget, n_bytes
from micro_yolo.tflite.decode import Detections, decode
from micro_yolo.tflite.interpreter import REFERENCE, Interpreter
from micro_yolo.tflite.resized import at_size
from micro_yolo.tflite.slim import slim

pytest.importorskip("tflite_micro", reason="tflite-micro is not installed: pip install 'micro-yolo[mcu]'")


@pytest.fixture(scope="module")
def made(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder, made beside a file with detections."""
    out = tmp_path_factory.mktemp("mcu")
    convert.run(convert.Config(run=exported, int8=True, samples=8, out=out, target=("mcu",)))
    return out / "mcu"


@pytest.fixture(scope="module")
def raw(made: Path) -> bytes:
    return (made / "tiny.tflite").read_bytes()


@pytest.fixture(scope="module")
def outputs(raw: bytes, inputs: list[np.ndarray]) -> list[list[np.ndarray]]:
    """What TFLM says of each picture, from the bytes that are in the C array."""
    micro, n = tflm.Micro(slim(raw)), len(inspect.read(raw).outputs)
    found = []
    for pixels in inputs:
        micro.look(pixels)
        found.append([micro.stored(number) for number in range(n)])
    return found


def by_python(raw: bytes, pixels: np.ndarray) -> Detections:
    """What LiteRT's reference kernels and tflite.decode find."""
    reference, contract = Interpreter(raw, backend=REFERENCE), contracts.inside(raw)
    assert contract is not None
    reference.look(pixels)
    grids: dict[str, dict[str, np.ndarray]] = {}
    for output in contract.outputs:
        grids.setdefault(output.row, {})[output.kind] = reference.value(output.name)[0]
    nms = contract.nms
    return decode(
        grids,
        contract.grids,
        contract.size,
        score_threshold=nms.score_threshold,
        iou_threshold=nms.iou_threshold,
        max_detections=nms.max_detections,
        pre_nms=nms.pre_nms,
    )


def test_the_folder(made: Path, raw: bytes) -> None:
    assert sorted(path.name for path in made.iterdir()) == sorted(
        ["tiny.tflite", "README.md", "main.c", "micro_yolo.c", "micro_yolo.h"]
        + [f"tiny_{part}" for part in ("model.c", "model.h", "contract.c", "contract.h", "run.cpp", "run.h")]
    )
    contract = contracts.inside(raw)
    assert contract is not None and contract.head == "raw" and contract.thresholds is not None
    beside = contracts.load(made.parent / "model_int8.tflite")
    assert beside.head == "detections" and beside.thresholds == contract.thresholds
    items = re.search(r"= \{(.*)\}", (made / "tiny_model.c").read_text(), re.S)
    assert items and bytes(int(item) for item in items[1].split(",") if item.strip()) == slim(raw)
    assert not [path for path in made.iterdir() if path.suffix != ".tflite" and re.search("@[A-Z]+@", path.read_text())]


def test_tflm_says_what_the_reference_kernels_say_bit_for_bit(
    raw: bytes, inputs: list[np.ndarray], outputs: list[list[np.ndarray]]
) -> None:
    reference = Interpreter(raw, backend=REFERENCE)
    for pixels, ours in zip(inputs, outputs, strict=True):
        reference.look(pixels)
        for index, stored in zip(reference.model.outputs, ours, strict=True):
            np.testing.assert_array_equal(stored, reference.tensor(index))


def test_the_decoder_finds_what_python_finds(
    made: Path, raw: bytes, inputs: list[np.ndarray], outputs: list[list[np.ndarray]], tmp_path: Path
) -> None:
    contract = contracts.inside(raw)
    assert contract is not None
    work = Path(shutil.copytree(made, tmp_path / "made"))
    nms, room = contract.nms, int(re.findall(r"CANDIDATES (\d+)", (made / "tiny_contract.h").read_text())[0])
    ours = CDecoder(work, "tiny").find(outputs, nms.score_threshold, nms.iou_threshold, room, nms.max_detections)
    for found, theirs in zip(ours, (by_python(raw, pixels) for pixels in inputs), strict=True):
        np.testing.assert_array_equal(found.classes, theirs.classes)
        np.testing.assert_array_equal(found.scores, theirs.scores)
        np.testing.assert_allclose(found.boxes_xyxy, theirs.boxes_xyxy, rtol=1e-6, atol=1e-5)
    assert sum(map(len, ours)) > len(inputs)


STUB = r"""
#include <stdio.h>
#include "tiny_run.h"
static uint8_t pixels[TINY_HEIGHT * TINY_WIDTH * 3];
static int8_t memory[1 << 20];
int tiny_start(void) { return 0; }
uint8_t *tiny_pixels(void) { return pixels; }
int tiny_run(const int8_t *outputs[TINY_OUTPUTS]) {
  int o;
  size_t at = 0;
  FILE *file = fopen("pixels.bin", "wb");
  if (file == NULL) return 1;
  fwrite(pixels, 1, sizeof pixels, file);
  fclose(file);
  file = fopen("outputs.bin", "rb");
  if (file == NULL) return 1;
  for (o = 0; o < TINY_OUTPUTS; o++) {
    unsigned char n[4];
    size_t bytes;
    if (fread(n, 1, 4, file) != 4) return 1;
    bytes = n[0] | (size_t)n[1] << 8 | (size_t)n[2] << 16;
    if (fread(memory + at, 1, bytes, file) != bytes) return 1;
    outputs[o] = memory + at;
    at += bytes;
  }
  fclose(file);
  return 0;
}
"""


def test_main_runs_it_on_one_picture(
    made: Path, inputs: list[np.ndarray], outputs: list[list[np.ndarray]], tmp_path: Path
) -> None:
    """With TFLM's outputs in the place of TFLM, which is C++ and not here as source."""
    work = Path(shutil.copytree(made, tmp_path / "made"))
    (work / "stub.c").write_text(STUB)
    sources = ("main.c", "stub.c", "tiny_contract.c", "tiny_model.c", "micro_yolo.c")
    build([compiler(), *STRICT, *SANITIZED, *sources, "-o", "main"], work)
    pixels, stored = inputs[0], [output.tobytes() for output in outputs[0]]
    (work / "outputs.bin").write_bytes(b"".join(len(each).to_bytes(4, "little") + each for each in stored))
    height, width, _ = pixels.shape
    ppm = b"P6\n%d %d\n255\n" % (width, height) + pixels.tobytes()

    def run(picture: bytes) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([work / "main"], input=picture, capture_output=True, cwd=work)

    said = run(ppm)
    assert said.returncode == 0, said.stderr
    assert (work / "pixels.bin").read_bytes() == pixels.tobytes()
    found, contract = by_python((made / "tiny.tflite").read_bytes(), pixels), contracts.load(made / "tiny.tflite")
    lines = [line.split(maxsplit=5) for line in said.stdout.decode().splitlines()]
    assert [line[5] for line in lines] == [contract.labels[kind] for kind in found.classes]
    numbers = np.array([line[:5] for line in lines], float)
    np.testing.assert_allclose(numbers[:, 0], found.scores, atol=1e-4)
    np.testing.assert_allclose(numbers[:, 1:], found.boxes_xyxy, atol=0.01)
    for picture, message in (
        (b"GIF", b"must be a binary PPM"),
        (b"P6 1 1 255\nabc", b"picture: must be 96 x 64 pixels, got 1 x 1"),
        (ppm[:-1], b"picture: ends too early"),
    ):
        refused = run(picture)
        assert refused.returncode == 1 and message in refused.stderr


# The interface of TFLM that run.cpp uses, without what is behind it.
STAND_IN = {
    "tensorflow/lite/micro/micro_mutable_op_resolver.h": """
#pragma once
enum TfLiteStatus { kTfLiteOk, kTfLiteError };
namespace tflite {
template <unsigned int n> class MicroMutableOpResolver { public:
METHODS };
}""",
    "tensorflow/lite/micro/micro_interpreter.h": """
#pragma once
#include <cstddef>
#include <cstdint>
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
struct TfLiteTensor { union { int8_t *int8; uint8_t *uint8; } data; };
namespace tflite {
struct Model {};
class MicroInterpreter { public:
  template <unsigned int n>
  MicroInterpreter(const Model *, const MicroMutableOpResolver<n> &, uint8_t *, size_t) {}
  TfLiteStatus AllocateTensors() { return kTfLiteOk; }
  TfLiteStatus Invoke() { return kTfLiteOk; }
  TfLiteTensor *input(size_t) { return nullptr; }
  TfLiteTensor *output(size_t) { return nullptr; }
};
}""",
    "tensorflow/lite/schema/schema_generated.h": """
#pragma once
namespace tflite { struct Model; inline const Model *GetModel(const void *) { return nullptr; } }""",
}


def test_the_runner_is_cpp_that_names_each_operator_once(made: Path, raw: bytes, tmp_path: Path) -> None:
    from micro_yolo.tflite.targets.mcu import METHODS

    text = (made / "tiny_run.cpp").read_text()
    added = re.findall(r"operators\.(\w+)\(\)", text)
    assert added == [METHODS[name] for name in dict.fromkeys(op.name for op in inspect.read(raw).ops)]
    assert f"MicroMutableOpResolver<{len(added)}>" in text
    work = Path(shutil.copytree(made, tmp_path / "made"))
    methods = "".join(f"TfLiteStatus {method}() {{ return kTfLiteOk; }}\n" for method in METHODS.values())
    for name, content in STAND_IN.items():
        path = tmp_path / "tflm" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content.replace("METHODS", methods))
    strict = ("-std=c++17", "-Wall", "-Wextra", "-Werror", "-pedantic")
    build([compiler("g++"), *strict, f"-I{tmp_path / 'tflm'}", "-c", "tiny_run.cpp"], work)


@pytest.mark.parametrize("target", CROSS)
def test_cross_compilers_take_it(made: Path, target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work = Path(shutil.copytree(made, tmp_path / "made"))
    # Without a library there is no stdio.h, which main.c alone wants.
    left_out = {"main.c"} if "-ffreestanding" in CROSS[target] else set()
    for file in sorted({path.name for path in work.glob("*.c")} - left_out):
        sums = cross_compiled(work, file, target)
        with capsys.disabled():
            print(f"\n{target:11} {file:16}", *(f"{kind} {sums[kind]}" for kind in SECTIONS if sums[kind]), end="")
        if file == "micro_yolo.c":
            assert 0 < sums[".text"] < 4096 and not sums[".data"] and not sums[".bss"]
            unknown = build([CROSS[target][0].replace("gcc", "nm"), "-u", "micro_yolo.o"], work).split()
            # Floats in software, copies of a struct: the compiler's own.
            assert all(symbol == "U" or symbol.startswith(("__", "mem")) for symbol in unknown)


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tflm, "PACKAGE", "no_such_package")
    yield


def test_without_the_runtime_nothing_is_begun(without: None, exported: Path, tmp_path: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        convert.run(convert.Config(run=exported, int8=True, out=tmp_path / "out", target=("mcu",)))
    assert not (tmp_path / "out").exists()


def test_other_variants_and_a_folder_that_is_there(made: Path, exported: Path) -> None:
    config = convert.Config(run=exported, int8=True, samples=8, target=("mcu",), out=made.parent)
    with pytest.raises(ValueError, match="target mcu: takes int8 files, got float32"):
        convert.run(replace(config, int8=False))
    before = {path: path.read_bytes() for path in made.parent.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=r"already exists.*; allowed: --overwrite"):
        convert.run(config)
    assert {path: path.read_bytes() for path in made.parent.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ("float16_raw", r"TFLM has no float16: \S+ of DEQUANTIZE; `python -m pipeline\.convert --int8 --head raw`"),
        ("dynamic_raw", r"TFLM cannot run CONV_2D, which makes \S+ \(float32 \[[\d, ]+\]\), as it is: .*[Hh]ybrid"),
    ],
)
def test_what_it_cannot_run_is_told_by_operator_and_tensor(exported: Path, variant: str, message: str) -> None:
    path = exported / "export" / f"model_{variant}.tflite"
    with pytest.raises(ValueError, match=message) as told:
        tflm.measure(path.read_bytes(), path)
    assert "\n" not in str(told.value)


def test_the_arena_is_the_least(raw: bytes) -> None:
    used = tflm.measure(raw)
    assert used.activation_bytes + used.persistent_bytes == used.arena_bytes and used.arena_bytes % 16 == 0
    tflm.Micro(raw, arena_bytes=used.arena_bytes)
    with pytest.raises(ValueError, match=r"an arena of [\d,]+ bytes is too small; `python -m pipeline\.edge"):
        tflm.Micro(raw, arena_bytes=used.arena_bytes - 16)


def test_at_another_size_it_takes_what_a_file_of_that_size_takes(raw: bytes, tiny: Arch, weighted: Any) -> None:
    from micro_yolo.model.build import build, deployable
    from micro_yolo.tflite.convert import convert as converted

    size = (128, 192)
    bigger = build(tiny.resized(size))
    bigger.set_weights(weighted.get_weights())
    noise = list(np.random.default_rng(0).integers(0, 256, (4, *size, 3), np.uint8))
    whole = converted(deployable(tiny.resized(size), bigger), "int8", noise)
    grown = at_size(raw, size)
    shapes = [[each.shape for each in inspect.read(data).tensors if not each.constant] for data in (grown, whole)]
    assert sorted(shapes[0]) == sorted(shapes[1])
    one, other = tflm.measure(grown), tflm.measure(whole)
    assert one.activation_bytes == other.activation_bytes and abs(one.arena_bytes - other.arena_bytes) <= 64
    pixels = noise[0]
    micro, litert = tflm.Micro(grown), Interpreter(grown, backend=REFERENCE)
    micro.look(pixels)
    litert.look(pixels)
    np.testing.assert_array_equal(micro.stored(0), litert.tensor(litert.model.outputs[0]))


def test_sizes_that_do_not_go(exported: Path, raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"has no whole counterpart at \[65, 96\]; allowed: multiples"):
        at_size(raw, (65, 96))
    with pytest.raises(ValueError, match="makes no picture"):
        at_size((exported / "export/model_int8.tflite").read_bytes(), (128, 192))


def test_the_command_measures_and_draws(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = made / "tiny.tflite", tmp_path / "edge.json"
    config = edge.Config((path,), target="tflm", arena="100K", flash="20K", json=out)
    found = edge.run(config).found[str(path)]["tflm"]
    assert capsys.readouterr() == ("", "")
    assert isinstance(found, Budget) and found.flash_bytes == len(slim(path.read_bytes()))
    assert sum(share.n_bytes for share in found.peak) == max(found.profile) <= found.arena.activation_bytes
    assert found.fitting is not None and found.fitting_arena <= 100 << 10
    height, width = found.fitting
    assert height * 96 == width * 64
    above = at_size(path.read_bytes(), (height + 32, (height + 32) * 96 // 64))
    assert tflm.measure(above).arena_bytes > 100 << 10
    edge.command(replace(config, overwrite=True))
    shown = capsys.readouterr().out
    assert "measured by TensorFlow Lite for Microcontrollers" in shown and "█" in shown
    assert f"fits an arena of 102,400 bytes: {height}x{width} (height x width)" in shown
    assert "flash: needs 25," in shown and "more than the 20,480 given" in shown
    assert json.loads(out.read_text())["edge"][str(path)]["tflm"]["arena"]["arena_bytes"] == found.arena.arena_bytes
    edge.command(replace(config, arena="10K", flash=None, json=None))
    shown = capsys.readouterr().out
    assert "no input size fits an arena of 10,240 bytes" in shown and "more than the 10,240 given" in shown


@pytest.mark.parametrize("text", ["", "256", "0", "-1", "1G", "x", "1.5M"])
def test_memory_in_words(text: str) -> None:
    if text == "256":
        assert (n_bytes("256", "arena"), n_bytes("256K", "arena"), n_bytes("1 MiB", "arena")) == (256, 1 << 18, 1 << 20)
        return
    with pytest.raises(ValueError, match=r"arena: must be bytes, got .*; allowed: 256K, 1M, 300000"):
        n_bytes(text, "arena")


def test_a_shape_that_changes_is_told_by_its_tensor(raw: bytes) -> None:
    graph = edit.Graph.of(raw)
    op = graph.main.operators[3]
    tensor = graph.main.tensors[op.outputs[0]]
    tensor.shapeSignature = np.array([-1, *tensor.shape[1:]], np.int32)
    with pytest.raises(
        ValueError, match=f"shapes that change: .* of {graph.op_name(op)} has one; convert it with a fixed"
    ):
        tflm.measure(graph.pack())


@pytest.mark.parametrize("damage", ["no input", "an input that is no picture", "nothing made", "cut"])
def test_a_damaged_file_is_refused_with_its_name(raw: bytes, damage: str) -> None:
    """Before TFLM or the counting see it, whose words say nothing of the file."""
    graph = edit.graph_of(raw)
    main = graph.subgraphs[0]
    if damage == "no input":
        main.inputs = np.array([], np.int32)
    elif damage == "an input that is no picture":
        main.tensors[main.inputs[0]].shape = np.array([7], np.int32)
    else:
        main.operators[3].outputs = np.array([], np.int32)
    data = raw[: len(raw) // 2] if damage == "cut" else edit.pack(graph)
    for read in (budget.measure, slim) if damage == "cut" else (budget.measure,):
        with pytest.raises(ValueError, match=r"^m: (must have operators that make something|the .tflite is damaged)"):
            read(data, "m")


def test_an_operator_it_does_not_have_is_told_by_name_and_tensor(raw: bytes) -> None:
    graph = edit.Graph.of(raw)
    op = next(op for op in graph.main.operators if graph.op_name(op) == "LOGISTIC")
    op.opcodeIndex = graph.code("GELU")
    with pytest.raises(ValueError, match=r"TFLM .*GELU, which makes \S+ \(int8 \["):
        tflm.measure(graph.pack())


def test_the_zoos_network_fits_what_its_page_says() -> None:
    from micro_yolo.model.build import build, deployable
    from micro_yolo.model.zoo import ARCHS
    from micro_yolo.tflite.convert import convert as converted

    arch = ARCHS["micro_yolo_mcu"].with_classes(10)
    noise = list(np.random.default_rng(0).integers(0, 256, (4, *arch.size, 3), np.uint8))
    model = build(arch)
    # Statistics of the batch, so that no activation dies.
    for layer in model.layers:
        if hasattr(layer, "momentum"):
            layer.momentum = 0.0
    model(np.stack(noise).astype(np.float32), training=True)
    data = converted(deployable(arch, model), "int8", noise)
    assert tflm.measure(slim(data)).arena_bytes <= 256 << 10 and len(slim(data)) <= 400 << 10
