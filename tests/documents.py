"""The documents as their tests read them: pages, fenced blocks, and the commands in those."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SITE = sorted((ROOT / "docs").glob("*.md"))
PAGES = sorted([ROOT / "README.md", ROOT / "android_demo/README.md", *SITE])
_BLOCK = re.compile(r"(?:^<!-- not run: (?P<why>.+?) -->\n+)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: what is behind the fence.
        code: what is in it.
        why: of ``<!-- not run: WHY -->`` above it; empty if there is none.
    """

    language: str
    code: str
    why: str


def blocks(text: str) -> list[Block]:
    """All fenced blocks of a page."""
    return [Block(found["language"], found["code"], found["why"] or "") for found in _BLOCK.finditer(text)]


def name(path: Path) -> str:
    """A page as a test calls it."""
    return str(path.relative_to(ROOT))


def commands(block: Block) -> list[list[str]]:
    """The commands of a block, as a shell splits them; of a loop those of its first turn; none of other languages.

    Of a ``console`` those behind ``$``; the rest is what they print.
    """
    if block.language not in ("sh", "console"):
        return []
    lines = re.sub(r"\\\n *", " ", block.code).splitlines()
    if block.language == "console":
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    found = []
    for line in lines:
        loop = re.fullmatch(r"for (\w+) in (\S+).*?; do (.*); done", line)
        body = loop[3].replace(f"${loop[1]}", loop[2]) if loop else line
        for part in re.split(r" && | \| | > ", body):
            words = shlex.split(part, comments=True)
            # Settings of the environment in front of a command.
            while words and re.match(r"[A-Z_]+=", words[0]):
                words = words[1:]
            found += [words] if words and not re.search(rf" > {re.escape(part)}$", body) else []
    return found
