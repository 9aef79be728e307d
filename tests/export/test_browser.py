"""What the browser demo serves, and what it refuses; tests/e2e/test_other_runtimes.py looks at it in a browser."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket
import subprocess
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from micro_yolo.pipeline import browser as demo
from micro_yolo.pipeline.show import cli
from micro_yolo.tflite import suppression

Copy = Callable[[str], Path]


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


def test_the_page_and_what_it_needs(server: Any, alone: Path, web: Path) -> None:
    answer, content = get(server, "/")
    assert answer.status == 200
    assert b"<title>Micro-YOLO</title>" in content
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "http" not in answer.headers["Content-Security-Policy"]
    assert get(server, "/model.tflite")[1] == alone.read_bytes()
    answer, content = get(server, "/vision/wasm/vision_wasm_internal.wasm")
    assert (answer.headers["Content-Type"], content) == ("application/wasm", b"\0asm")
    contract = json.loads(get(server, "/contract.json")[1])
    assert contract["labels"][0] == "circle"
    assert not {"data", "parents", "versions"} & set(contract)
    for name in re.findall(r'from "/([^/"]+)"', get(server, "/demo.js")[1].decode()):
        assert get(server, f"/{name}")[0].status == 200, name
    answer, content = get(server, "/demo.js", method="HEAD")
    assert (answer.status, content) == (200, b"")


def test_nothing_else_is_served(server: Any) -> None:
    for path in ("/../demo.py", "/%2e%2e/demo.py", "//etc/passwd", "/package.json", "/vision/package.json", "/x"):
        assert get(server, path)[0].status == 404, path
    assert get(server, "/", method="POST")[0].status == 501
    # A page elsewhere whose name was made to point at this computer.
    assert get(server, "/model.tflite", host="evil.example:8000")[0].status == 404
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
