"""What the Gradle files and this build must agree on, so that a user's build is the one that was checked here."""

from __future__ import annotations

import re
import tomllib
import zipfile
from typing import Any

from android_demo.verify.tools import APP, DEMO, HERE, jars

# Android's classes at compileSdk and minSdk.
NEWEST = "android-all-16"
OLDEST = "android-all-7"
CATALOG = DEMO / "gradle/libs.versions.toml"


def catalog() -> dict[str, Any]:
    """The version catalog."""
    return tomllib.loads(CATALOG.read_text())


def sdk(name: str) -> str:
    """A number of the catalog, such as minSdk."""
    return str(catalog()["versions"][name])


def application_id() -> str:
    """The package's name, from the Gradle file. ValueError if it has none."""
    found = re.search(r'applicationId = "([\w.]+)"', (DEMO / "app/build.gradle.kts").read_text())
    if not found:
        raise ValueError("app/build.gradle.kts: has no applicationId")
    return found[1]


def check() -> list[str]:
    """Everything that does not agree, one line each; needs the fetched files."""
    faults = [*_versions(), *_aliases(), *_sources()]
    for prefix, name in ((NEWEST, "compileSdk"), (OLDEST, "minSdk")):
        (jar,) = jars(prefix)
        with zipfile.ZipFile(jar) as file:
            properties = file.read("build.prop").decode()
        if f"ro.build.version.sdk={sdk(name)}" not in properties.splitlines():
            faults.append(f"{prefix}: is not of {name} {sdk(name)}")
    return faults


def _versions() -> list[str]:
    versions = catalog()["versions"]
    faults = [
        f"{file}: {name} must be {versions[name]} as in libs.versions.toml"
        for file, name, pattern in (
            ("pom.xml", "kotlin", "<kotlin>{}</kotlin>"),
            ("pom.xml", "junit", "<artifactId>junit</artifactId><version>{}<"),
            ("pom.xml", "tflite-desktop", "<tflite.desktop>{}</tflite.desktop>"),
            ("pom.xml", "javacpp", "<javacpp>{}</javacpp>"),
            ("robolectric.xml", "robolectric", "<robolectric>{}</robolectric>"),
            ("robolectric.sha256", "asm", "  asm-{}.jar"),
        )
        if pattern.format(versions[name]) not in (HERE / file).read_text()
    ]
    # The first whose native libraries can be loaded where memory pages have 16 KB.
    if tuple(map(int, versions["litert"].split("."))) < (1, 4):
        faults.append(f"libs.versions.toml: litert must be at least 1.4, got {versions['litert']}")
    return faults


def _aliases() -> list[str]:
    tables = catalog()
    known = {f"plugins.{alias}".replace("-", ".") for alias in tables["plugins"]}
    known |= {alias.replace("-", ".") for alias in tables["libraries"]}
    known |= {f"versions.{name}" for name in tables["versions"]}
    used = set()
    faults = []
    for file in DEMO.rglob("*.gradle.kts"):
        for alias in re.findall(r"\blibs\.([\w.]+?)(?:\.get\(\)[\w.()]*)?(?=[\s),])", file.read_text()):
            used.add(alias)
            if alias not in known:
                faults.append(f"{file.relative_to(DEMO)}: libs.{alias} is not in libs.versions.toml")
    referenced = {
        f"versions.{item['version']['ref']}" for kind in ("libraries", "plugins") for item in tables[kind].values()
    }
    faults += [f"libs.versions.toml: {name} is used nowhere" for name in sorted(known - used - referenced)]
    faults += [f"libs.versions.toml: {name} does not exist" for name in sorted(referenced - known)]
    return faults


def _sources() -> list[str]:
    text = (DEMO / "app/build.gradle.kts").read_text()
    faults = []
    if f'namespace = "{application_id()}"' not in text:
        faults.append("app/build.gradle.kts: namespace and applicationId differ")
    if "<uses-sdk" in (APP / "AndroidManifest.xml").read_text():
        faults.append("AndroidManifest.xml: SDK numbers belong into libs.versions.toml")
    return faults
