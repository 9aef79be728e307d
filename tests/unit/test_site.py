"""The site made of docs/: `make docs` builds it, strictly, and nothing of it is fetched from elsewhere."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import documents
import pytest

ROOT = documents.ROOT
SETTINGS = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]
LOOK = ROOT / "docs/look.css"
REPORT = ROOT / "pipeline/page/templates"


def places(nav: Any) -> list[str]:
    """The pages of a nav, in its order."""
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [place for part in parts for place in places(part)]


def make(folder: Path) -> subprocess.CompletedProcess[str]:
    if importlib.util.find_spec("zensical") is None:
        if os.environ.get("CI"):
            pytest.fail("zensical is not installed; `make setup`")
        pytest.skip("zensical is not installed; `make setup`")
    return subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--clean", "--strict"],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
        timeout=300,
    )


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """What the site is made of, in a folder of its own."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    return tmp_path


def test_every_page_is_in_the_nav_once() -> None:
    listed = places(SETTINGS["nav"])
    assert len(listed) == len(set(listed))
    assert set(listed) == {path.name for path in documents.SITE}, "zensical.toml lists the pages"


@pytest.mark.parametrize("path", documents.SITE, ids=documents.name)
def test_a_page_opens_with_what_it_is_for_and_a_command(path: Path) -> None:
    title, _, rest = path.read_text().partition("\n")
    assert title.startswith("# ")
    opening = re.split(r"^## ", rest, maxsplit=1, flags=re.M)[0].lstrip("\n")
    first = re.split(r"\n\s*\n", opening, maxsplit=1)[0]
    assert not first.startswith(("```", "|", "-", "#", "<", "!")), "a sentence comes first"
    assert len(first.split()) >= 8 and first.rstrip().endswith((".", ":", "?")), first
    assert any(block.language in ("sh", "console", "python") for block in documents.blocks(opening)), "no command"


def test_the_site_is_built_and_needs_nobody_else(copied: Path) -> None:
    done = make(copied)
    assert done.returncode == 0, done.stdout + done.stderr
    site = copied / "build/site"
    for path in documents.SITE:
        page = (site / path.with_suffix(".html").name).read_text()
        fetched = re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=\"?(https?:[^\"> ]+)", page)
        assert not fetched, f"{path.name} fetches {fetched}"
        for picture in re.findall(r"<img\b[^>]*?\bsrc=\"?([^\"> ]+)", page):
            assert (site / picture).is_file(), picture
        assert "look.css" in page and 'data-md-color-scheme="slate"' in page
        # Tables and fences are such, and not text with bars and ticks in it.
        assert "| ---" not in page and "```" not in re.sub(r"<code>.*?</code>", "", page, flags=re.S)
    found = json.loads((site / "search.json").read_text())
    assert "quantization-aware" in json.dumps(found).lower()


@pytest.mark.parametrize("link", ["[x](nowhere.md)", "[x](train.md#nowhere)"])
def test_a_broken_link_stops_the_build(link: str, copied: Path) -> None:
    with (copied / "docs/start.md").open("a") as file:
        file.write(f"\n\n{link}\n")
    done = make(copied)
    assert done.returncode != 0 and "start.md" in done.stdout + done.stderr


def test_site_and_report_look_alike() -> None:
    report = "".join(path.read_text() for path in sorted(REPORT.glob("*.css")))
    light, dark = report.split("prefers-color-scheme: dark", 1)
    site_light, site_dark = LOOK.read_text().split('[data-md-color-scheme="slate"]', 1)
    for ours, theirs in ((site_light, light), (site_dark.split("}")[0], dark)):
        for name, colour in re.findall(r"(--[a-z-]+): (#\w+);", ours):
            assert re.search(rf"{name}: {colour};", theirs), f"{name} is {colour} in docs/look.css alone"
    for font in re.findall(r"--md-\w+-font-family: (.+);", LOOK.read_text()):
        assert font in report
