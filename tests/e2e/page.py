"""The page of pipeline.demo in headless Chromium, its model loaded."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
from browser import Browser

from micro_yolo.pipeline import browser as demo
from micro_yolo.tflite.decode import Detections
from micro_yolo.tflite.detector import Detector

_RESULT = "document.getElementById('found').dataset.result"


class Page:
    """A server and a browser, for a `with`."""

    def __init__(self, model: Path, *flags: str) -> None:
        self._labels = Detector(model).labels
        self._server = demo.serve(demo.Config(model=model, port=0))
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._flags = flags

    def __enter__(self) -> Page:
        self._thread.start()
        try:
            self.browser = Browser(*self._flags)
            self.browser.open(f"http://localhost:{self._server.server_port}")
            self.browser.wait("return document.body.dataset.ready")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        if hasattr(self, "browser"):
            self.browser.close()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def detect(self, file: Path) -> tuple[Detections, dict[str, Any]]:
        """What the page finds in a file, and all it says of it."""
        self.browser.run(f"delete {_RESULT}")
        self.browser.choose("#file", file.resolve())
        said = json.loads(self.result())
        found = said["detections"]
        detections = Detections(
            np.array([each["box"] for each in found], np.float64).reshape(-1, 4),
            np.array([each["score"] for each in found], np.float64),
            np.array([self._labels.index(each["label"]) for each in found], np.int32),
        )
        return detections, said

    def result(self) -> str:
        """JSON of what was found last."""
        return str(self.browser.wait(f"return {_RESULT}"))

    def complaint(self) -> str:
        """The error that the page shows."""
        return str(self.browser.wait("return document.querySelector('#status.error')?.textContent"))

    def status(self) -> str:
        """The line that the page shows."""
        return str(self.browser.run("return document.getElementById('status').textContent"))
