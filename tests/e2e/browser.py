"""Headless Chromium, driven by ChromeDriver over WebDriver's HTTP (W3C), for tests of pages."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")

# WebDriver's names of keys without a letter.
KEYS = {
    "Tab": "\ue004",
    "Enter": "\ue007",
    "Space": " ",
    "Down": "\ue015",
    "Right": "\ue014",
    "Left": "\ue012",
}


def require(*programs: str) -> None:
    """Skip, in CI fail, where one of the programs is not installed."""
    for program in programs:
        if shutil.which(program) is None:
            if os.environ.get("CI"):
                pytest.fail(f"{program} must be installed (.ci/run does)")
            pytest.skip(f"no {program}")


class Browser:
    """A session of its own, ended by `close`."""

    def __init__(self, *flags: str) -> None:
        self._driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._driver.stdout is not None
        port = next(
            found[1] for line in self._driver.stdout if (found := re.search(r"successfully on port (\d+)", line))
        )
        self._root = f"http://127.0.0.1:{port}/session"
        options = {"args": [*_FLAGS, *flags]}
        wanted = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}
        self._root += "/" + self._call("", {"capabilities": wanted})["sessionId"]

    def close(self) -> None:
        """End the browser and its driver."""
        try:
            urllib.request.urlopen(urllib.request.Request(self._root, method="DELETE"), timeout=30).close()
        finally:
            self._driver.terminate()
            self._driver.wait(30)
            assert self._driver.stdout is not None
            self._driver.stdout.close()

    def open(self, address: str) -> None:
        """Load a page."""
        self._call("/url", {"url": address})

    def run(self, script: str, *args: Any) -> Any:
        """The value that a function body in JavaScript returns; a promise is waited for."""
        return self._call("/execute/sync", {"script": script, "args": list(args)})

    def wait(self, script: str, seconds: float = 60) -> Any:
        """The first value of `script` that is true. Raises TimeoutError, with what the page says."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = self.run(script)
            if value:
                return value
            time.sleep(0.05)
        raise TimeoutError(f"{script}: {self.run('return document.body.innerText')}")

    def choose(self, selector: str, path: Path) -> None:
        """Give a file to an <input type=file>."""
        found = self._call("/element", {"using": "css selector", "value": selector})
        self._call(f"/element/{found[_ELEMENT]}/value", {"text": str(path)})

    def press(self, *keys: str) -> None:
        """Press keys one after the other, as a person does: one of KEYS, or a letter."""
        codes = [KEYS.get(key, key) for key in keys]
        steps = [{"type": kind, "value": code} for code in codes for kind in ("keyDown", "keyUp")]
        self._call("/actions", {"actions": [{"type": "key", "id": "keys", "actions": steps}]})

    def save_to(self, folder: Path) -> None:
        """Put what is downloaded into a folder."""
        self._devtools("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})

    def accessible(self) -> list[tuple[str, str]]:
        """Role and name of all that assistive technology is told of the page."""
        nodes = self._devtools("Accessibility.getFullAXTree", {})["nodes"]
        seen = [node for node in nodes if not node.get("ignored")]
        return [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in seen]

    def show_as(self, width: int, height: int, scheme: str) -> None:
        """Lay the page out for a screen of that many CSS pixels, "light" or "dark"."""
        sides = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._devtools("Emulation.setDeviceMetricsOverride", sides)
        self._devtools("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})

    def screenshot(self) -> bytes:
        """A PNG of what is seen."""
        return base64.b64decode(self._call("/screenshot"))

    def _devtools(self, command: str, params: dict[str, Any]) -> Any:
        return self._call("/goog/cdp/execute", {"cmd": command, "params": params})

    def _call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._root + path, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from None
