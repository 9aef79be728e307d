"""What the browser page serves, and what it refuses; tests/e2e/test_browser_page.py looks at it in a browser."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from micro_yolo.pipeline import browser as demo
from micro_yolo.pipeline.data import load
from micro_yolo.pipeline.page import opening
from micro_yolo.pipeline.show import cli
from micro_yolo.tflite import contract as contracts
from micro_yolo.tflite import suppression
from micro_yolo.tflite.contract import Data
from micro_yolo.tflite.detector import Detector
from micro_yolo.tflite.image import load_image

Copy = Callable[[str], Path]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def web(tmp_path: Path) -> Path:
    """What looks like MediaPipe's package."""
    folder = tmp_path / "tasks-vision"
    (folder / "wasm").mkdir(parents=True)
    (folder / "vision_bundle.mjs").write_text("export {}")
    (folder / "wasm" / "vision_wasm_internal.wasm").write_bytes(b"\0asm")
    (folder / "package.json").write_text("{}")
    return folder


@pytest.fixture
def server(alone: Path, web: Path) -> Iterator[Any]:
    made = demo.serve(demo.Config(model=alone, port=0, web=web))
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def get(server: Any, path: str, host: str | None = None, method: str = "GET") -> tuple[Any, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request(method, path, headers={"Host": host or f"localhost:{server.server_port}"})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


def page_of(server: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(get(server, "/page.json")[1])
    return found


def test_the_page_and_what_it_needs(server: Any, alone: Path, web: Path) -> None:
    answer, content = get(server, "/")
    assert answer.status == 200
    assert b"<title>Micro-YOLO</title>" in content
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "http" not in answer.headers["Content-Security-Policy"]
    assert get(server, "/models/0.tflite")[1] == alone.read_bytes()
    answer, content = get(server, "/vision/wasm/vision_wasm_internal.wasm")
    assert (answer.headers["Content-Type"], content) == ("application/wasm", b"\0asm")
    (model,) = page_of(server)["models"]
    assert (model["name"], model["path"], model["bytes"]) == (alone.stem, "/models/0.tflite", alone.stat().st_size)
    assert model["contract"]["labels"][0] == "circle"
    assert not {"data", "parents", "versions"} & set(model["contract"])
    scripts = [path.name for path in demo.WEB.glob("*.js")]
    for script in scripts:
        for name in re.findall(r'from "/([^/"]+)"', get(server, f"/{script}")[1].decode()):
            assert name in scripts, name
    for name in re.findall(r'(?:href|src)="/([^"]+)"', get(server, "/")[1].decode()):
        assert get(server, f"/{name}")[0].status == 200, name
    answer, content = get(server, "/page.js", method="HEAD")
    assert (answer.status, content) == (200, b"")


def test_nothing_else_is_served(server: Any) -> None:
    outside = ("/../browser.py", "/%2e%2e/browser.py", "//etc/passwd")
    for path in (*outside, "/package.json", "/vision/package.json", "/photographs/9", "/models/1.tflite"):
        assert get(server, path)[0].status == 404, path
    assert get(server, "/", method="POST")[0].status == 501
    # A page elsewhere whose name was made to point at this computer.
    assert get(server, "/models/0.tflite", host="evil.example:8000")[0].status == 404
    assert get(server, "/", host="127.0.0.1:1")[0].status == 200


def test_refusals_have_the_headers_of_answers(server: Any) -> None:
    for path, method, status in (("/x", "GET", 404), ("/", "POST", 501), ("/", "GET", 200)):
        answer, _ = get(server, path, method=method)
        assert answer.status == status
        for name, value in demo._HEADERS.items():
            assert answer.headers.get_all(name) == [value], (path, name)


def threads_of(server: Any) -> list[threading.Thread]:
    return [each for each in threading.enumerate() if "process_request" in each.name]


def until(condition: Callable[[], bool]) -> bool:
    for _ in range(100):
        if condition():
            return True
        threading.Event().wait(0.1)
    return False


@pytest.mark.parametrize("beginning", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "])
def test_a_request_that_never_ends_is_left(server: Any, monkeypatch: pytest.MonkeyPatch, beginning: bytes) -> None:
    monkeypatch.setattr(server.RequestHandlerClass, "timeout", 0.5)
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as connection:
        connection.sendall(beginning)
        assert connection.recv(100) == b""
    assert until(lambda: not threads_of(server))


def test_many_requests_that_never_end_hold_nobody_up(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "MOST_CONNECTIONS", 8)
    held = [socket.create_connection(("127.0.0.1", server.server_port), timeout=20) for _ in range(40)]
    try:
        for connection in held:
            connection.sendall(b"G")
        assert until(lambda: 0 < len(threads_of(server)) <= 8)
        assert get(server, "/")[0].status == 200
    finally:
        for connection in held:
            connection.close()
    assert until(lambda: not threads_of(server))


def refused(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    with pytest.raises(SystemExit) as stopped:
        cli.main(demo.Config, demo.command, prog=demo.PROG, args=[*map(str, args)])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_port_in_use(alone: Path, web: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refused(capsys, "--model", alone, "--web", web, "--port", port)
    assert f"port: {port} is in use; allowed: another --port, or 0" in line
    assert "port: must be 0 to 65535, got 70000" in refused(capsys, "--model", alone, "--web", web, "--port", 70000)


@pytest.mark.parametrize(
    ("name", "message"),
    [("int8_raw", "its outputs are grids, MediaPipe takes detections; .*--head raw makes"), ("text", "not a .tflite")],
)
def test_models_it_cannot_show(
    name: str, message: str, model_copy: Copy, web: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "text.tflite"
    path.write_text("hello")
    if name != "text":
        path = model_copy(name)
    line = refused(capsys, "--model", path, "--web", web)
    assert path.name in line
    assert re.search(message, line)


def test_a_coding_it_does_not_know(model_copy: Copy, web: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = model_copy("int8").with_suffix(".json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "coding": "detections/2"}))
    line = refused(capsys, "--model", path.with_suffix(".tflite"), "--web", web)
    assert "coding: unknown, got 'detections/2'; allowed for detections: detections/1; update micro-yolo" in line


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_the_page_knows_codings_by_their_names() -> None:
    script = """
        const { checkCoding } = await import(process.argv[1]);
        for (const contract of [{}, { coding: "detections/1" }, { coding: "detections/2" }, { coding: null }]) {
          try { console.log(checkCoding(contract)); } catch (error) { console.log(error.message); }
        }
    """
    # Node takes a file for a module by its suffix.
    source = "data:text/javascript," + urllib.parse.quote((demo.WEB / "coding.js").read_text())
    done = subprocess.run(
        ["node", "--input-type=module", "--eval", script, source], capture_output=True, text=True, check=True
    )
    end = "allowed: detections/1; update micro-yolo"
    assert done.stdout.splitlines() == [
        suppression.CODING,
        suppression.CODING,
        f'coding: unknown, got "detections/2"; {end}',
        f"coding: unknown, got null; {end}",
    ]


def opened(web: Path, model: Path, *photo: Path) -> tuple[Any, dict[str, Any]]:
    """A server that runs until the test ends, as a generator's fixture would; and its page.json."""
    made = demo.serve(demo.Config(model=model, photo=photo, port=0, web=web))
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    return made, page_of(made)


def test_a_file_that_becomes_another_is_gone(model_copy: Copy, web: Path) -> None:
    path = model_copy("int8")
    server, _ = opened(web, path)
    assert get(server, "/models/0.tflite")[0].status == 200
    path.write_bytes(path.read_bytes() + b"\0")
    assert get(server, "/models/0.tflite")[0].status == 410
    path.unlink()
    assert get(server, "/models/0.tflite")[0].status == 410
    server.shutdown()
    server.server_close()


def test_a_folder_gives_all_its_models(exported: Path, web: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server, page = opened(web, exported)
    names = [model["name"] for model in page["models"]]
    assert names == ["export/model_float32", "export/model_int8"]
    assert names[page["chosen"]] == "export/model_int8"
    for model in page["models"]:
        assert get(server, model["path"])[1] == (exported / f"{model['name']}.tflite").read_bytes()
    server.shutdown()
    server.server_close()


def test_which_of_a_folder_is_first(exported: Path, tmp_path: Path) -> None:
    source = exported / "export"

    def put(name: str, variant: str, when: int) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((source / f"model_{variant}.tflite").read_bytes())
        os.utime(path, (when, when))

    def first() -> str:
        found, _ = opening.models(tmp_path)
        return found[opening.first(found)].name

    put("a.tflite", "float32", 9)
    assert first() == "a"
    put("prune/b.tflite", "int8", 8)
    assert first() == "prune/b"
    put("c.tflite", "int8", 1)
    assert first() == "c"
    put("d.tflite", "int8", 2)
    assert first() == "d"
    put(".hidden/e.tflite", "int8", 7)
    assert [model.name for model in opening.models(tmp_path)[0]] == ["a", "c", "d", "prune/b"]


def test_a_folder_with_nothing_to_show(
    exported: Path, web: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no .tflite below it that the page can show; `python -m pipeline.convert" in refused(
        capsys, "--model", tmp_path, "--web", web
    )
    shutil.copy(exported / "export" / "model_int8_raw.tflite", tmp_path)
    (tmp_path / "text.tflite").write_text("hello")
    assert "no .tflite below it that the page can show" in refused(capsys, "--model", tmp_path, "--web", web)
    shutil.copy(exported / "export" / "model_int8.tflite", tmp_path)
    found, left_out = opening.models(tmp_path)
    assert [model.name for model in found] == ["model_int8"]
    assert [re.search(r"its outputs are grids|not a \.tflite", reason) is not None for reason in left_out] == [
        True,
        True,
    ]


def test_it_begins_with_the_validation_split(model_copy: Copy, web: Path, tiny_data: Path) -> None:
    path = model_copy("int8")
    server, page = opened(web, path)
    split = load(tiny_data).splits["val"]
    files = {file.name: file for file in split.files}
    assert [each["name"] for each in page["photographs"]] == sorted(
        files, key=lambda name: -(np.diff(split.starts)[list(files).index(name)])
    )
    for each in page["photographs"]:
        answer, content = get(server, each["path"])
        assert (answer.headers["Content-Type"], content) == ("image/jpeg", files[each["name"]].read_bytes())
        with Image.open(io.BytesIO(get(server, each["small"])[1])) as small:
            assert max(small.size) <= 176
    detector = Detector(path)
    expected = detector.detect(load_image(files[page["photographs"][0]["name"]]), detector.contract.nms.lowest_score)
    assert len(expected) > 0
    found = page["found"]["detections"]
    np.testing.assert_array_equal([each["box"] for each in found], expected.boxes_xyxy)
    np.testing.assert_array_equal([each["score"] for each in found], expected.scores)
    assert [each["label"] for each in found] == [detector.labels[number] for number in expected.classes]
    assert (page["credit"], page["missing"]) == ("", "")
    server.shutdown()
    server.server_close()


def asked(path: Path, **changes: Any) -> Any:
    contract = contracts.load(path)
    return opening.photographs(replace(contract, **changes))


def test_what_it_begins_with_where_the_data_is_gone(alone: Path, tmp_path: Path) -> None:
    gone = Data(path=str(tmp_path / "gone"))
    drawn = asked(alone, data=gone)
    assert [each.name for each in drawn.each][:2] == ["drawn-1.png", "drawn-2.png"]
    assert drawn.each[0].pixels().shape == (480, 480, 3)
    cards = asked(alone, data=gone, labels=("ten", "ace", "king", "queen", "jack"))
    assert len(cards.each) == opening.MOST_PHOTOGRAPHS
    assert all((opening.CARDS / "images" / each.name).read_bytes() == each.content for each in cards.each)
    assert "Evan Juras, Apache License 2.0" in cards.credit
    others = asked(alone, data=gone, labels=("king", "bishop", "knight", "rook", "pawn"))
    assert (others.each, others.credit) == ((), "")
    assert others.missing == f"{tmp_path / 'gone'}: the photographs it was trained on are not there"
    assert "does not say" in asked(alone, data=Data(), labels=tuple("abcde")).missing


def test_photographs_that_are_named(alone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], web: Path) -> None:
    tiff, jpeg = tmp_path / "scan.tif", tmp_path / "turned.jpg"
    pixels = np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8)
    Image.fromarray(pixels).save(tiff)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(jpeg, exif=exif)
    first, second = opening.photographs(contracts.load(alone), (tiff, jpeg)).each
    # What browsers cannot read is given to them as PNG, without loss; a JPEG as it is.
    assert (first.kind, second.kind) == ("image/png", "image/jpeg")
    np.testing.assert_array_equal(first.pixels(), pixels)
    assert second.content == jpeg.read_bytes()
    assert second.pixels().shape == (50, 30, 3)
    text = tmp_path / "notes.jpg"
    text.write_text("hello")
    assert "notes.jpg: not an image" in refused(capsys, "--model", alone, "--web", web, "--photo", text)


def test_the_base_installation_is_enough(model_copy: Copy, web: Path) -> None:
    extras = (
        "tensorflow",
        "tf_keras",
        "keras",
        "keras_cv",
        "pycocotools",
        "matplotlib",
        "yaml",
        "defusedxml",
        "jinja2",
    )
    code = (
        f"import sys\nfrom pathlib import Path\nsys.modules.update(dict.fromkeys({extras}))\n"
        "from micro_yolo.pipeline.browser import Config, serve\n"
        "serve(Config(model=Path(sys.argv[1]), web=Path(sys.argv[2]), port=0)).server_close()\nprint('served')"
    )
    args = [sys.executable, "-c", code, str(model_copy("int8")), str(web)]
    done = subprocess.run(args, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "served\n"), done.stderr


def test_a_package_that_is_not_there(
    alone: Path, web: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "missing.tflite"
    assert "missing.tflite" in refused(capsys, "--model", missing, "--web", web)
    shutil.rmtree(web / "wasm")
    assert "is not a folder of @mediapipe/tasks-vision" in refused(capsys, "--model", alone, "--web", web)
    monkeypatch.setattr(demo, "WEB", tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    line = refused(capsys, "--model", alone)
    assert f"is not installed; `npm ci --prefix {tmp_path / 'elsewhere'}`" in line


def test_the_version_is_pinned_with_its_hash() -> None:
    lock = json.loads((demo.WEB / "package-lock.json").read_text())
    wanted = json.loads((demo.WEB / "package.json").read_text())["dependencies"]["@mediapipe/tasks-vision"]
    (package,) = (each for name, each in lock["packages"].items() if name)
    assert package["version"] == wanted
    assert wanted[0].isdigit()
    assert package["integrity"].startswith("sha512-")
