"""The app's very sources -> a signed APK."""

from __future__ import annotations

import shutil
import time
import zipfile
from pathlib import Path

from android_demo.verify import tools, versions
from android_demo.verify.checks import PAGE
from android_demo.verify.tools import APP, CORE, DEMO, jars, java, kotlinc, path, run, step

PASSWORD = "android"
# R8 is older than this Kotlin and so leaves its metadata out, which nothing here reads.
CHATTER = ("kotlin.Metadata", "parsing kotlin metadata", "META-INF/MANIFEST.MF")


def build(out: Path) -> Path:
    """Compile, shrink, pack and sign; return the APK. Raises ValueError with the failing tool's words."""
    shutil.rmtree(out, ignore_errors=True)
    (out / "dex").mkdir(parents=True)
    start = time.perf_counter()
    link(out)
    step("resources linked", start)
    start = time.perf_counter()
    kotlinc(CORE / "main/kotlin", out / "core.jar", path(jars("kotlin-stdlib-2")))
    compile_app(out)
    step("core and app compiled", start)
    start = time.perf_counter()
    _shrink(out, *jars(versions.NEWEST), [*jars("kotlin-stdlib-2", "annotations"), *libraries()])
    step("shrunk by R8", start)
    apk = out / "app.apk"
    _pack(out)
    run("zipalign", "-f", PAGE, out / "unaligned.apk", apk)
    _sign(out, apk)
    return apk


def describe(apk: Path) -> str:
    """Sizes in the APK, in KiB."""
    lines = [f"{apk.stat().st_size / 2**20:.1f} MiB {apk}"]
    with zipfile.ZipFile(apk) as file:
        for info in sorted(file.infolist(), key=lambda info: -info.compress_size)[:14]:
            lines.append(f"{info.compress_size / 1024:9.1f} KiB  {info.filename}")
    return "\n".join(lines)


def lint() -> None:
    """Run ktlint over all Kotlin. ValueError with what it found."""
    classpath = path(
        path_ for path_ in sorted(tools.JARS.glob("*.jar")) if not path_.name.startswith(("android-all", "apktool"))
    )
    command = ("java", "-XX:TieredStopAtLevel=1", "-cp", classpath, "com.pinterest.ktlint.Main", "--relative")
    run(*command, "**/*.kt", "**/*.kts", cwd=DEMO)


def libraries() -> list[Path]:
    """The classes of what the app is linked with."""
    return [archive / "classes.jar" for archive in tools.aars()]


def compile_app(out: Path) -> None:
    """app.jar, with core.jar and the classes that `link` made."""
    classpath = path(*jars(versions.NEWEST), jars("kotlin-stdlib-2"), out / "core.jar", out / "r", libraries())
    kotlinc(APP / "kotlin", out / "app.jar", classpath)


def link(out: Path) -> None:
    """The app's resources, manifest and assets: base.apk, and R's classes in r/."""
    manifest = (APP / "AndroidManifest.xml").read_text()
    # Gradle gives the package from its namespace; aapt2 wants it here.
    (out / "AndroidManifest.xml").write_text(
        manifest.replace("<manifest ", f'<manifest package="{versions.application_id()}" ', 1)
    )
    run(tools.aapt2(), "compile", "--dir", APP / "res", "-o", out / "resources.zip")
    run(
        *(tools.aapt2(), "link", "-o", out / "base.apk", "--manifest", out / "AndroidManifest.xml"),
        *("-I", *jars(versions.NEWEST), "--java", out / "r-source", "--proguard", out / "resources.pro"),
        *("--min-sdk-version", versions.sdk("minSdk"), "--target-sdk-version", versions.sdk("targetSdk")),
        *("--version-code", 1, "--version-name", "1.0", "-A", APP / "assets", "-0", "tflite", out / "resources.zip"),
    )
    run("javac", "--release", 8, "-nowarn", "-Xlint:-options", "-d", out / "r", *(out / "r-source").rglob("*.java"))


def _shrink(out: Path, android: Path, libraries: list[Path]) -> None:
    run("jar", "cf", out / "r.jar", "-C", out / "r", ".")
    rules = [out / "resources.pro", DEMO / "app/proguard-rules.pro"]
    printed = java(
        *("-cp", tools.r8(), "com.android.tools.r8.R8", "--release", "--min-api", versions.sdk("minSdk")),
        *(
            "--lib",
            android,
            "--lib",
            run("java", "-XshowSettings:properties", "-version").split("java.home = ")[1].split()[0],
        ),
        *(part for rule in rules for part in ("--pg-conf", rule)),
        *("--output", out / "dex", out / "app.jar", out / "core.jar", out / "r.jar", *libraries),
        memory="3g",
    )
    faults = [line for line in printed.splitlines() if line and not any(word in line for word in CHATTER)]
    if faults:
        raise ValueError("R8 warns:\n" + "\n".join(faults[:20]))


def _pack(out: Path) -> None:
    shutil.copy(out / "base.apk", out / "unaligned.apk")
    with zipfile.ZipFile(out / "unaligned.apk", "a") as file:
        for dex in sorted((out / "dex").glob("*.dex")):
            file.write(dex, dex.name, zipfile.ZIP_DEFLATED)
        for aar in tools.aars():
            for library in sorted(aar.glob("jni/*/*.so")):
                file.write(library, f"lib/{library.parent.name}/{library.name}", zipfile.ZIP_STORED)


def _sign(out: Path, apk: Path) -> None:
    key = out / "test.keystore"
    names = ("-dname", "CN=test", "-validity", 1000, "-keyalg", "RSA", "-keysize", 2048)
    run("keytool", "-genkeypair", "-keystore", key, "-storepass", PASSWORD, "-alias", "test", *names)
    run(
        "apksigner",
        "sign",
        "--ks",
        key,
        "--ks-pass",
        f"pass:{PASSWORD}",
        "--min-sdk-version",
        versions.sdk("minSdk"),
        apk,
    )
