"""What must be true of the APK."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from pathlib import Path

from android_demo.verify import api, tools, versions
from android_demo.verify.tools import ASSETS, jars, run

ABIS = ("arm64-v8a", "armeabi-v7a", "x86", "x86_64")
LIBRARIES = ("libtensorflowlite_gpu_jni.so", "libtensorflowlite_jni.so")
# What the largest memory pages of Android 15 need of libraries that are loaded from the APK.
PAGE = 16384


def check(apk: Path) -> list[str]:
    """Everything that is wrong with the APK, one line each; ValueError if its signature is not good."""
    faults = [*badging(run(tools.aapt2(), "dump", "badging", apk)), *contents(apk)]
    used = api.newer([apk.parent / name for name in ("app.jar", "core.jar", "r.jar")], *jars(versions.OLDEST))
    faults += expect(f"what is newer than API {versions.sdk('minSdk')}", sorted(api.GUARDED), used)
    run("apksigner", "verify", "--verbose", "--min-sdk-version", versions.sdk("minSdk"), apk)
    return faults


def badging(text: str) -> list[str]:
    """What is wrong with what `aapt2 dump badging` says."""

    def all_of(pattern: str) -> list[str]:
        return re.findall(pattern, text, re.MULTILINE)

    abis = re.findall(r"'([^']+)'", " ".join(all_of(r"^(?:alt-)?native-code:.*")))
    return [
        *expect("package", [versions.application_id()], all_of(r"^package: name='([^']+)'")),
        *expect("minSdk", [versions.sdk("minSdk")], all_of(r"^(?:sdk|minSdk)Version:'(\d+)'")),
        *expect("targetSdk", [versions.sdk("targetSdk")], all_of(r"^targetSdkVersion:'(\d+)'")),
        *expect("permissions", ["android.permission.CAMERA"], all_of(r"^uses-permission[^:]*: name='([^']+)'")),
        *expect(
            "activity", [f"{versions.application_id()}.MainActivity"], all_of(r"^launchable-activity: name='([^']+)'")
        ),
        *expect("ABIs", sorted(ABIS), sorted(abis)),
    ]


def contents(apk: Path) -> list[str]:
    """What is wrong with the files in the APK."""
    faults = []
    with zipfile.ZipFile(apk) as file:
        entries = {info.filename: info for info in file.infolist()}
        models = sorted(ASSETS.glob("*.tflite"))
        packed = sorted(name for name in entries if name.endswith(".tflite"))
        faults += expect("models", [f"assets/models/{model.name}" for model in models], packed)
        for model in models:
            faults += _model(file, model) if f"assets/models/{model.name}" in entries else []
        # Whose weights and photographs the models are of.
        faults += expect("assets/models/SOURCE.md", True, "assets/models/SOURCE.md" in entries)
        libraries = sorted(name for name in entries if name.endswith(".so"))
        faults += expect("libraries", [f"lib/{abi}/{name}" for abi in ABIS for name in LIBRARIES], libraries)
        for name, info in entries.items():
            if name.endswith((".tflite", ".so", ".arsc")):
                faults += expect(f"compression of {name}", zipfile.ZIP_STORED, info.compress_type)
                faults += expect(f"bytes of {name} off a page", 0, _offset(apk, info) % PAGE)
        dex = file.read("classes.dex")
    for name in ("MainActivity", "OverlayView"):
        descriptor = f"L{versions.application_id().replace('.', '/')}/{name};".encode()
        faults += expect(f"{name} in classes.dex", True, descriptor in dex)
    return faults


def expect(what: str, wanted: object, got: object) -> list[str]:
    """A line if they differ."""
    return [] if wanted == got else [f"APK: {what} must be {wanted}, got {got}"]


def _model(file: zipfile.ZipFile, model: Path) -> list[str]:
    data = file.read(f"assets/models/{model.name}")
    contract = json.loads(file.read(f"assets/models/{model.stem}.json"))
    digest = hashlib.sha256(data).hexdigest()
    return [
        *expect(f"SHA-256 of {model.name}", hashlib.sha256(model.read_bytes()).hexdigest(), digest),
        *expect(f"SHA-256 in {model.stem}.json", digest, contract["model_sha256"]),
    ]


def _offset(apk: Path, info: zipfile.ZipInfo) -> int:
    """Where an entry's data begins: behind its local header, whose extra field the directory does not know."""
    with open(apk, "rb") as file:
        file.seek(info.header_offset + 26)
        name, extra = (int.from_bytes(file.read(2), "little") for _ in range(2))
    return info.header_offset + 30 + name + extra
