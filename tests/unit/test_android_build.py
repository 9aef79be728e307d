"""The checks around the Android app: they pass today, and fail when something is wrong."""

from __future__ import annotations

import os
import re
import threading
import zipfile
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from android_demo.verify import checks, jvm, phone, pinned, tools, versions
from micro_yolo.tflite.image import load_image

ROOT = Path(__file__).resolve().parents[2]


def faults() -> list[str]:
    """All checks that need nothing fetched."""
    return [*versions._versions(), *versions._aliases(), *versions._sources()]


def test_nothing_disagrees() -> None:
    assert faults() == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('kotlin = "2', 'kotlin = "1', "pom.xml: kotlin must be 1"),
        ('junit = "4', 'junit = "5', "pom.xml: junit must be 5"),
        ('robolectric = "4', 'robolectric = "5', "robolectric.xml: robolectric must be 5"),
        ('asm = "9', 'asm = "8', "robolectric.sha256: asm must be 8"),
        ('litert = "1.4', 'litert = "1.3', "litert must be at least 1.4"),
        ("litert-gpu-api = {", "litert-gpu-apis = {", "app/build.gradle.kts: libs.litert.gpu.api is not in"),
        ("junit = {", "unused = {", "core/build.gradle.kts: libs.junit is not in"),
        ('agp = "', 'apg = "', "versions.agp does not exist"),
    ],
)
def test_what_disagrees_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, fault: str
) -> None:
    text = versions.CATALOG.read_text()
    assert old in text
    changed = tmp_path / "libs.versions.toml"
    changed.write_text(text.replace(old, new, 1))
    monkeypatch.setattr(versions, "CATALOG", changed)
    assert fault in "\n".join(faults())


def test_every_fetched_file_is_pinned() -> None:
    for shelf, least in (*((shelf, 20) for shelf in tools.SHELVES), (tools.GRADLE, 0)):
        lines = shelf.lock.read_text().splitlines()
        assert all(re.fullmatch(r"[0-9a-f]{64}  \S+\.(jar|aar)", line) for line in lines)
        names = [line.split()[1] for line in lines]
        assert len(names) > least
        assert names == sorted(set(names))
    assert "--hash=sha256:" in (tools.HERE / "requirements.txt").read_text()


def test_gradle_is_the_one_that_was_published() -> None:
    wrapper = (ROOT / "android_demo/gradle/wrapper/gradle-wrapper.properties").read_text()
    assert re.search(r"^distributionSha256Sum=[0-9a-f]{64}$", wrapper, re.MULTILINE)


def test_gradle_pins_what_this_build_pins() -> None:
    """The same files by the same SHA-256; all others are trusted, and no pinned one is."""
    space = "{https://schema.gradle.org/dependency-verification}"
    root = ElementTree.parse(ROOT / "android_demo/gradle/verification-metadata.xml").getroot()
    lock = {name: digest for digest, name in map(str.split, (tools.HERE / "jars.sha256").read_text().splitlines())}
    rules = [rule.attrib for rule in root.iter(f"{space}trust")]

    def trusted(**facts: str) -> bool:
        return any(all(re.fullmatch(rule[name], facts[name]) for name in rule if name != "regex") for rule in rules)

    pinned = list(root.iter(f"{space}component"))
    assert len(pinned) == 4
    for component in pinned:
        where = {name: component.attrib[name] for name in ("group", "name", "version")}
        for artifact in component:
            (said,) = artifact
            assert said.attrib["value"] == lock[artifact.attrib["name"]]
            assert not trusted(**where, file=artifact.attrib["name"])
        assert trusted(**where | {"version": "0"}, file="x") and trusted(**where | {"name": "other"}, file="x")
        versions_of = (ROOT / "android_demo/gradle/libs.versions.toml").read_text() + "13.0 1.3"
        assert where["version"] in versions_of
    assert trusted(group="com.android.tools.build", name="gradle", version="8.13.0", file="gradle-8.13.0.jar")


def test_what_gradle_would_do_otherwise_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gradle.jar").touch()
    monkeypatch.setattr(pinned, "GRADLE", replace(tools.GRADLE, folder=tmp_path))
    says = ["accepted", "refused"] * len(pinned.artifacts()) + ["accepted"] * len(pinned.TRUSTED)
    monkeypatch.setattr(pinned, "java", lambda *asked: "\n".join(says))
    assert pinned.check(tmp_path / "out") == []
    says[1] = "accepted"
    group, name, version, _ = pinned.artifacts()[0]
    assert pinned.check(tmp_path / "out") == [
        f"Gradle: {group}:{name}:{version} as other.jar must be refused, is accepted"
    ]


def test_nothing_is_installed_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        tools.shutil, "which", lambda command: None if command in ("mvn", "javac") else f"/bin/{command}"
    )
    monkeypatch.setattr(tools.subprocess, "run", lambda *command, **more: pytest.fail(f"ran {command}"))
    for user, sudo in ((0, ""), (1000, "sudo ")):
        monkeypatch.setattr(tools.os, "geteuid", lambda user=user: user)
        with pytest.raises(
            ValueError, match=f"`{sudo}apt-get install --no-install-recommends default-jdk-headless maven`"
        ):
            tools.fetch()


def test_the_shrinker_may_only_miss_annotations() -> None:
    rules = (ROOT / "android_demo/app/proguard-rules.pro").read_text()
    assert re.findall(r"^-dontwarn (\S+)", rules, re.MULTILINE) == ["androidx.annotation.**"]


def test_core_knows_nothing_of_android() -> None:
    sources = list((ROOT / "android_demo/core").rglob("*.kt"))
    assert len(sources) > 20
    for file in sources:
        imported = re.findall(r"^import (\S+)", file.read_text(), re.MULTILINE)
        assert not [name for name in imported if name.startswith(("android", "org.tensorflow"))], file


def test_missing_photographs_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = tmp_path / "nowhere"
    monkeypatch.setattr(jvm, "PHOTOS", nowhere)
    monkeypatch.delenv("CI", raising=False)
    assert not jvm.compare(tmp_path, None)
    with pytest.raises(ValueError, match=r"verify: .*nowhere does not exist; --photos FOLDER names one"):
        jvm.compare(tmp_path, nowhere)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(ValueError, match=r"verify: .*nowhere does not exist"):
        jvm.compare(tmp_path, None)


def test_a_camera_gives_almost_the_picture() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    # Of a colour that four pixels share nothing is lost but by rounding.
    flat = np.kron(pixels[:3, :4], np.ones((2, 2, 1), np.uint8))
    luma, blue, red = phone.to_yuv(flat)
    assert (luma.shape, blue.shape, red.shape) == ((6, 8), (3, 4), (3, 4))
    assert np.abs(phone.to_rgb(luma, blue, red).astype(int) - flat).max() <= 2
    grey = np.full((2, 2, 3), 77, np.uint8)
    assert [int(plane[0, 0]) for plane in phone.to_yuv(grey)] == [77, 128, 128]


@pytest.mark.parametrize("turn", range(1, 9))
def test_photographs_are_stored_as_cameras_store_them(turn: int, tmp_path: Path) -> None:
    upright = np.zeros((16, 24, 3), np.uint8)
    upright[:8, :8], upright[8:, :8] = 255, 128
    path = phone.stored(upright, turn, tmp_path / "turned.jpg")
    with Image.open(path) as picture:
        assert picture.size == ((24, 16) if turn < 5 else (16, 24))
    assert np.abs(load_image(path).astype(int) - upright).max() < 3


def test_every_android_of_the_tests_is_run_once() -> None:
    properties = (phone.TESTS / "resources/robolectric.properties").read_text()
    (said,) = re.findall(r"^sdk=(.*)$", properties, re.M)
    assert sorted(map(int, said.split(","))) == sorted(number for group in phone.ANDROIDS for number in group)


def test_works_are_done_at_the_same_time_and_say_what_failed() -> None:
    meet = threading.Barrier(2, timeout=60)
    if (os.cpu_count() or 1) > 1:
        assert len(tools.together(meet.wait, meet.wait)) == 2

    def fails() -> int:
        raise ValueError("this one")

    with pytest.raises(ValueError, match="this one"):
        tools.together(int, fails)


def test_the_gallery_has_every_state_of_the_tests() -> None:
    states = (phone.TESTS / "kotlin/org/microyolo/app/State.kt").read_text()
    assert sorted(phone.STATES) == sorted(name.lower() for name in re.findall(r"^    ([A-Z_]+)\(\{", states, re.M))


BADGING = """package: name='org.microyolo.app' versionCode='1'
minSdkVersion:'24'
targetSdkVersion:'36'
uses-permission: name='android.permission.CAMERA'
launchable-activity: name='org.microyolo.app.MainActivity'  label='Micro-YOLO' icon=''
native-code: 'arm64-v8a' 'armeabi-v7a' 'x86' 'x86_64'
"""


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("app' v", "demo' v", "package must be ['org.microyolo.app'], got ['org.microyolo.demo']"),
        ("'24'", "'21'", "minSdk must be ['24'], got ['21']"),
        ("'36'", "'34'", "targetSdk must be ['36'], got ['34']"),
        ("permission.CAMERA'", "permission.INTERNET'", "permissions must be ['android.permission.CAMERA'], got"),
        ("uses-permission", "uses-permission: name='x'\nuses-permission", "permissions must be"),
        ("MainActivity", "Main", "activity must be"),
        (" 'x86'", "", "ABIs must be"),
    ],
)
def test_a_wrong_manifest_is_named(old: str, new: str, fault: str) -> None:
    assert checks.badging(BADGING) == []
    found = checks.badging(BADGING.replace(old, new, 1))
    assert len(found) == 1
    assert fault in found[0]


def test_wrong_contents_are_named(tmp_path: Path) -> None:
    apk = tmp_path / "app.apk"
    model = tools.ASSETS / "cards_int8.tflite"
    with zipfile.ZipFile(apk, "w") as file:
        file.writestr(f"assets/models/{model.name}", model.read_bytes()[:-1], zipfile.ZIP_DEFLATED)
        file.write(model.with_suffix(".json"), f"assets/models/{model.stem}.json")
        file.writestr("lib/x86/libtensorflowlite_jni.so", b"")
        file.writestr("classes.dex", b"Lorg/microyolo/app/MainActivity;")
    found = "\n".join(checks.contents(apk))
    for fault in (
        "SHA-256 of cards_int8.tflite must be",
        "SHA-256 in cards_int8.json must be",
        "assets/models/SOURCE.md must be True, got False",
        "libraries must be",
        "compression of assets/models/cards_int8.tflite must be 0, got 8",
        "bytes of lib/x86/libtensorflowlite_jni.so off a page must be 0, got",
        "OverlayView in classes.dex must be True, got False",
    ):
        assert fault in found
