"""python -m android_demo.verify apk: a signed test APK, checked, in build/android.
python -m android_demo.verify test: :core's tests and the detector on a desktop JVM.
python -m android_demo.verify shots: the screenshots, and the gallery of docs from them.
python -m android_demo.verify gradle: what Gradle would do with the SHA-256s that it is given.
python -m android_demo.verify lock: record the SHA-256 of what the .xml files fetch now.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path

from android_demo.verify import apk, checks, jvm, phone, pinned, tools, versions

OUT = tools.ROOT / "build/android"


def build(_: Path | None) -> None:
    """The APK and everything that can be checked of it and of the sources."""
    start = time.perf_counter()
    tools.fetch()
    faults = versions.check()
    made = apk.build(OUT / "apk")
    faults += checks.check(made)
    apk.lint()
    if faults:
        raise ValueError("\n".join(faults))
    print(apk.describe(made))
    tools.step("versions agree, ktlint has nothing to say, the signed APK is as it must be", start)


def test(photos: Path | None) -> None:
    """JUnit, agreement with Python, and the drawn screens."""
    start = time.perf_counter()
    tools.fetch()
    out = OUT / "jvm"
    jvm.compile_all(out)
    classpath = phone.build(out)
    passed = tools.together(
        *(partial(phone.test, out, classpath, group) for group in phone.ANDROIDS), partial(_core, out, photos)
    )
    tools.step("done", start)
    print(f"{sum(passed)} passed, 0 failed")


def _core(out: Path, photos: Path | None) -> int:
    passed = jvm.unit_tests(out)
    if not jvm.compare(out, photos):
        print("NOT compared with pipeline.predict: no photographs beside the project; --photos FOLDER names some")
    return passed


def shots(_: Path | None) -> None:
    """The gallery of docs."""
    tools.fetch()
    out = OUT / "jvm"
    jvm.compile_all(out)
    for picture in phone.shots(out):
        print(f"{picture}: {picture.stat().st_size / 1024:.0f} KiB")


def gradle(_: Path | None) -> None:
    """Gradle's code on gradle/verification-metadata.xml."""
    start = time.perf_counter()
    tools.fetch(tools.GRADLE)
    if faults := pinned.check(OUT / "gradle"):
        raise ValueError("\n".join(faults))
    count = len(pinned.artifacts())
    tools.step(f"Gradle takes the {count} files that are pinned, refuses others in their place, trusts the rest", start)


def lock(_: Path | None) -> None:
    """Fetch everything and write the SHA-256s anew, to be looked at and committed."""
    for shelf in (*tools.SHELVES, tools.GRADLE):
        tools.download(shelf)
        lines = [f"{digest}  {name}\n" for name, digest in sorted(tools.digests(shelf).items())]
        shelf.lock.write_text("".join(lines))
        print(f"{shelf.lock}: {len(lines)} files")


def main() -> None:
    """The command line."""
    actions = {"apk": build, "test": test, "shots": shots, "gradle": gradle, "lock": lock}
    parser = argparse.ArgumentParser(prog="python -m android_demo.verify", description=__doc__)
    parser.add_argument("action", choices=actions)
    parser.add_argument("--photos", type=Path, help="folder of photographs to compare on, for test")
    arguments = parser.parse_args()
    try:
        actions[arguments.action](arguments.photos)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
