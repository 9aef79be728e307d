"""A page that runs models in the browser: a photograph with its boxes at once, then yours, or the camera.

    python -m pipeline.browser --model runs/cells/export/model_int8.tflite
    python -m pipeline.browser --model runs/cells

The browser runs the file itself, with MediaPipe Tasks; nothing is fetched from outside. See docs/browser.md.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from micro_yolo.model.printable import typed
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.screen import QUIET, Screen, Show

if TYPE_CHECKING:
    from micro_yolo.pipeline.page.opening import Model, Photographs
    from micro_yolo.tflite.detector import Detector

PROG = "python -m pipeline.browser"
WEB = Path(__file__).parent / "web"
# Colours, letters and panels, as the report has them.
LOOK = Path(__file__).parent / "page" / "templates" / "look.css"
PACKAGE = Path("node_modules", "@mediapipe", "tasks-vision")
# Seconds after which a browser that says nothing, or takes nothing, is left alone; and how many are served at once.
PATIENCE = 30.0
MOST_CONNECTIONS = 64
BUNDLE = "vision_bundle.mjs"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
}
_HEADERS = {
    # What the page may load: only what comes from here, so that a library cannot call home.
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' data: blob:; media-src blob:; "
        "worker-src 'self' blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
# What is served for a path: its bytes and their type.
_Routes = dict[str, Callable[[], tuple[bytes, str]]]


@dataclass(frozen=True)
class Config:
    """Serve a page on this computer that finds objects with a model, in the browser."""

    model: Path
    """The .tflite, float32 or int8, with the detections head; or a run or other folder, to switch between its files."""
    photo: tuple[Path, ...] = ()
    """Photographs to begin with; by default some of the validation split that the model never trained on."""
    port: int = 8000
    """Port of the page; 0 takes a free one."""
    web: Path | None = None
    """Folder of MediaPipe's web package; by default the one that `npm ci` in pipeline/web, or here, installed."""


def run(config: Config, show: Show = QUIET) -> None:
    """Serve until Ctrl-C. Raises ValueError or OSError, in one line, for what a user can mend."""
    server = serve(config, show)
    show.say(f"http://localhost:{server.server_port} finds objects with {config.model}; Ctrl-C ends it")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        show.say("ended")
    finally:
        server.server_close()


def serve(config: Config, show: Show = QUIET) -> ThreadingHTTPServer:
    """The server, bound to its port but not running yet.

    Raises:
        FileNotFoundError: no such model, or MediaPipe's web package is not installed.
        ValueError: the model is damaged, or one that MediaPipe cannot run; a photograph cannot be read; or the port is
            taken.
    """
    from micro_yolo.pipeline.page import opening
    from micro_yolo.tflite.detector import Detector

    if not 0 <= config.port <= 65535:
        raise ValueError(f"port: must be 0 to 65535, got {config.port}")
    models, left_out = opening.models(config.model)
    if left_out:
        show.warn(f"{len(left_out)} other files in {config.model} are not shown; {left_out[0]}")
    package = find_package(config.web)
    chosen = opening.first(models)
    detector = Detector(models[chosen].path)
    photographs = opening.photographs(detector.contract, config.photo)
    if photographs.missing:
        show.say(f"{photographs.missing}; --photo FILE begins with one")
    page = {
        "models": [_described(number, model) for number, model in enumerate(models)],
        "chosen": chosen,
        "photographs": [
            {"name": each.name, "path": f"/photographs/{number}", "small": f"/photographs/{number}/small"}
            for number, each in enumerate(photographs.each)
        ],
        "found": _found(detector, photographs),
        "credit": photographs.credit,
        "missing": photographs.missing,
    }
    routes = _routes(models, photographs, page, package)

    class Handler(_Handler):
        files = routes

    try:
        # This computer alone: a model may be private, and browsers give the camera to localhost without HTTPS.
        return _Server(("127.0.0.1", config.port), Handler)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ValueError(f"port: {config.port} is in use; allowed: another --port, or 0 for a free one") from None
        raise ValueError(
            f"port: {config.port} cannot be opened ({error.strerror}); allowed: --port 1024 to 65535"
        ) from None


def find_package(web: Path | None) -> Path:
    """The folder of MediaPipe's web package. FileNotFoundError says how to get it."""
    places = [web] if web else [WEB / PACKAGE, PACKAGE]
    for place in places:
        if (place / BUNDLE).is_file() and (place / "wasm").is_dir():
            return place
    if web:
        raise FileNotFoundError(f"{web}: is not a folder of @mediapipe/tasks-vision: it has no {BUNDLE} and wasm/")
    raise FileNotFoundError(
        f"{WEB / PACKAGE}: MediaPipe's web package is not installed; `npm ci --prefix {typed(WEB)}` (npm comes "
        "with Node.js) installs the version that is wanted, and checks it; --web FOLDER says where it is otherwise"
    )


def _described(number: int, model: Model) -> dict[str, Any]:
    # The page needs not know where the training data lay.
    public = {key: value for key, value in asdict(model.contract).items() if key not in ("data", "parents", "versions")}
    return {"name": model.name, "path": f"/models/{number}.tflite", "bytes": model.n_bytes, "contract": public}


def _found(detector: Detector, photographs: Photographs) -> dict[str, Any] | None:
    """What is in the first photograph, so that the page has boxes before the browser has loaded what finds them."""
    if not photographs.each:
        return None
    pixels = photographs.each[0].pixels()
    found = detector.detect(pixels, detector.contract.nms.lowest_score)
    each = zip(found.boxes_xyxy.tolist(), found.scores.tolist(), found.classes.tolist(), strict=True)
    return {
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "detections": [{"label": detector.labels[label], "score": score, "box": box} for box, score, label in each],
    }


def _routes(models: Sequence[Model], photographs: Photographs, page: dict[str, Any], package: Path) -> _Routes:
    """Everything that is served, by path; anything else is not found, wherever it may lie."""

    def file(path: Path) -> Callable[[], tuple[bytes, str]]:
        return lambda: (path.read_bytes(), _TYPES[path.suffix])

    def bytes_of(content: bytes, kind: str) -> Callable[[], tuple[bytes, str]]:
        return lambda: (content, kind)

    def model_of(model: Model) -> Callable[[], tuple[bytes, str]]:
        def read() -> tuple[bytes, str]:
            content = model.path.read_bytes()
            if hashlib.sha256(content).hexdigest() != model.sha256:
                raise FileNotFoundError(f"{model.path}: is another file since the page was started")
            return content, "application/octet-stream"

        return read

    routes: _Routes = {"/": file(WEB / "index.html"), "/look.css": file(LOOK)}
    routes |= {f"/{path.name}": file(path) for path in WEB.iterdir() if path.suffix in (".js", ".css")}
    routes[f"/vision/{BUNDLE}"] = file(package / BUNDLE)
    wasm = (path for path in (package / "wasm").iterdir() if path.suffix in _TYPES)
    routes |= {f"/vision/wasm/{path.name}": file(path) for path in wasm}
    routes["/page.json"] = bytes_of(json.dumps(page).encode(), _TYPES[".json"])
    routes |= {f"/models/{number}.tflite": model_of(model) for number, model in enumerate(models)}
    for number, each in enumerate(photographs.each):
        routes[f"/photographs/{number}"] = bytes_of(each.content, each.kind)
        routes[f"/photographs/{number}/small"] = bytes_of(each.small, "image/jpeg")
    return routes


class _Server(ThreadingHTTPServer):
    def __init__(self, address: tuple[str, int], handler: type[_Handler]) -> None:
        self._open: dict[socket.socket, None] = {}
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give it a thread; where there are too many, the oldest has had its time."""
        with self._lock:
            if len(self._open) >= MOST_CONNECTIONS:
                oldest = next(iter(self._open))
                del self._open[oldest]
                with contextlib.suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)
            self._open[request] = None
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Its thread is done with it."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that goes away in the middle of an answer is no error."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    files: dict[str, Callable[[], tuple[bytes, str]]]
    protocol_version = "HTTP/1.1"
    timeout = PATIENCE

    def end_headers(self) -> None:
        """The headers of every answer, also of a refusal."""
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def do_GET(self) -> None:
        """A file, or 404; 410 for one that has gone, or become another, since the start."""
        found = self.files.get(self.path.split("?")[0])
        if found is None or not self._is_local():
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            content, kind = found()
        except OSError:
            self.send_error(HTTPStatus.GONE)
            return
        self.send_response(HTTPStatus.OK)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET

    def _is_local(self) -> bool:
        """Whether the page was asked for by a name of this computer: others' pages must not reach it by theirs."""
        return self.headers.get("Host", "").rsplit(":", 1)[0] in ("localhost", "127.0.0.1")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the user looks at the browser."""


def command(config: Config) -> None:
    """Serve and tell where."""
    with Screen() as show:
        run(config, show)


def main() -> None:
    """The command line."""
    cli.main(Config, command, prog=PROG, description=__doc__)


if __name__ == "__main__":
    main()
