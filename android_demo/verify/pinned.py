"""What Gradle's own code makes of gradle/verification-metadata.xml, without a Gradle."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from android_demo.verify.tools import DEMO, GRADLE, HERE, JARS, java

METADATA = DEMO / "gradle/verification-metadata.xml"
_SPACE = "{https://schema.gradle.org/dependency-verification}"
# What is on Google's Maven alone, of which no SHA-256 could be had here.
TRUSTED = (("com.google.ai.edge.litert", "litert", "1.4.0"), ("com.android.tools.build", "gradle", "8.13.0"))


def artifacts() -> list[tuple[str, str, str, str]]:
    """Group, name, version and file of each that is pinned."""
    return [
        (component.attrib["group"], component.attrib["name"], component.attrib["version"], artifact.attrib["name"])
        for component in ElementTree.parse(METADATA).getroot().iter(f"{_SPACE}component")
        for artifact in component
    ]


def check(out: Path) -> list[str]:
    """Where Gradle would do otherwise than take what is pinned, refuse anything else in its place and take the rest.

    Args:
        out: folder for a file of other bytes.
    """
    out.mkdir(parents=True, exist_ok=True)
    other = out / "other.jar"
    other.write_bytes(b"other bytes")
    asked: list[tuple[str, str, str, Path, str]] = []
    for group, name, version, file in artifacts():
        asked += [(group, name, version, JARS / file, "accepted"), (group, name, version, other, "refused")]
    asked += [(*coordinates, other, "accepted") for coordinates in TRUSTED]
    (gradle,) = GRADLE.folder.glob("*.jar")
    source = HERE / "gradle/Verified.java"
    printed = java("-cp", gradle, source, METADATA, *(part for *case, _ in asked for part in case)).split("\n")
    return [
        f"Gradle: {group}:{name}:{version} as {file.name} must be {wanted}, is {said}"
        for (group, name, version, file, wanted), said in zip(asked, printed, strict=True)
        if said != wanted
    ]
