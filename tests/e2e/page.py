"""The page of pipeline.browser in headless Chromium, its model loaded."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Browser, require

from micro_yolo.pipeline import browser as demo
from micro_yolo.tflite.decode import Detections

_RESULT = "document.getElementById('found').dataset.result"


def require_page() -> None:
    """Skip, in CI fail, where what the page needs is not installed."""
    require("chromium", "chromedriver")
    if not (demo.WEB / demo.PACKAGE).is_dir():
        if os.environ.get("CI"):
            pytest.fail("MediaPipe's web package must be installed (make web)")
        pytest.skip("no MediaPipe web package; make web installs it")


class Page:
    """A server and a browser, for a `with`."""

    def __init__(self, model: Path, *flags: str, photo: tuple[Path, ...] = (), web: Path | None = None) -> None:
        """A page of a model, or of a folder of models, in a browser with more flags."""
        self._server = demo.serve(demo.Config(model=model, photo=photo, port=0, web=web))
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._flags = flags
        # Without MediaPipe there is the beginning, and no more.
        self._until = "ready" if web is None else "begun"

    def __enter__(self) -> Page:
        self._thread.start()
        try:
            self.browser = Browser(*self._flags)
            self.reload()
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

    def reload(self) -> None:
        """The page as it begins."""
        self.browser.open(f"http://localhost:{self._server.server_port}")
        self.browser.wait(f"return document.body.dataset.{self._until}")

    def detect(self, file: Path) -> tuple[Detections, dict[str, Any]]:
        """What the page finds in a file, and all it says of it."""
        self.browser.run(f"delete {_RESULT}")
        self.browser.choose("#file", file.resolve())
        said = json.loads(self.result())
        labels = self.browser.run("return fetch('/page.json').then((answer) => answer.json())")["models"][0][
            "contract"
        ]["labels"]
        found = said["detections"]
        detections = Detections(
            np.array([each["box"] for each in found], np.float64).reshape(-1, 4),
            np.array([each["score"] for each in found], np.float64),
            np.array([labels.index(each["label"]) for each in found], np.int32),
        )
        return detections, said

    def result(self) -> str:
        """JSON of what was found last."""
        return str(self.browser.wait(f"return {_RESULT}"))

    def complaint(self) -> str:
        """The error that the page shows."""
        return str(self.browser.wait("return document.querySelector('#status.doubt')?.textContent"))

    def status(self) -> str:
        """The line that the page shows."""
        return str(self.browser.run("return document.getElementById('status').textContent"))
