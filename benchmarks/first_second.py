"""What is on the browser page one second after it was asked for, in headless Chromium.

    python benchmarks/first_second.py --model runs/cells/export/model_int8.tflite --rounds 5 --out first_second.png

Prints for each load, the first with a browser that has just started, the milliseconds from asking until something is
drawn, until a photograph is there with its boxes (those that the command found), and until the browser has found them
itself; then the medians, and what had come by one second. With --out, a picture of the page at that moment.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "e2e"))

from micro_yolo.pipeline.show import cli

MOMENT = 1.0
_TIMES = """
    const { begun, ready } = document.body.dataset;
    const paint = performance.getEntriesByName("first-contentful-paint")[0]?.startTime;
    return [paint, begun, ready].map(Number);
"""
_LOADED = """
    const loaded = performance.getEntriesByType("resource").filter((each) => each.responseEnd <= 1000);
    return [loaded.length, loaded.reduce((sum, each) => sum + each.encodedBodySize, 0)];
"""


@dataclass(frozen=True)
class Config:
    """Measure how soon the browser page shows something."""

    model: Path
    """A .tflite with the detections head, or a folder of them."""
    rounds: int = 5
    """Loads of the page."""
    width: int = 360
    """Width of the screen in pixels."""
    height: int = 740
    """Its height."""
    out: Path | None = None
    """PNG of the page one second after it was asked for."""


def run(config: Config) -> None:
    """Print a line a load."""
    from browser import Browser

    from micro_yolo.pipeline import browser as page

    server = page.serve(page.Config(model=config.model, port=0))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://localhost:{server.server_port}"
    browser = Browser()
    rows = []
    try:
        browser.show_as(config.width, config.height, "light")
        for number in range(config.rounds):
            browser.open(address)
            browser.wait("return document.body.dataset.ready")
            rows.append(browser.run(_TIMES))
            print(f"load {number + 1}: {_line(rows[-1])}", flush=True)
        print(f"median: {_line([median(column) for column in zip(*rows, strict=True)])}")
        count, size = browser.run(_LOADED)
        print(f"by one second of the last load: {count} files, {size / 2**20:.1f} MiB")
        if config.out:
            browser.run("location.replace(arguments[0])", address)
            time.sleep(MOMENT)
            config.out.write_bytes(browser.screenshot())
    finally:
        browser.close()
        server.shutdown()
        server.server_close()


def _line(times: list[float]) -> str:
    painted, begun, ready = times
    return (
        f"drawn after {painted:.0f} ms, photograph and boxes {begun:.0f} ms, boxes of the browser's own {ready:.0f} ms"
    )


if __name__ == "__main__":
    cli.main(Config, run, prog="python benchmarks/first_second.py", description=__doc__)
