"""Time and memory to load a COCO-train2017-sized annotation file, generated for the purpose.

    python benchmarks/load_coco.py

draws 118,000 image records and 860,000 boxes with polygons (about 570 MB of JSON, and one-byte image files) in a
temporary folder and loads them in a process of its own. The limits are 30 s and 2 GiB. Takes about a minute.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path

LOAD = """
import resource, sys, time
start = time.perf_counter()
from micro_yolo.pipeline.data import load
dataset = load(sys.argv[1])
seconds = time.perf_counter() - start
rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
boxes = {name: len(split.classes) for name, split in dataset.splits.items()}
print(f"{seconds:.1f} s, peak {rss / 2**20:.2f} GiB, images {sum(map(len, dataset.splits.values()))}, boxes {boxes}")
"""


def generate(root: Path, images: int, boxes: int) -> Path:
    """One COCO file whose records look like train2017's, and a one-byte file per image."""
    rng = random.Random(0)
    polygons = [[f"{rng.uniform(0, 640):.2f}" for _ in range(2 * rng.randint(8, 55))] for _ in range(500)]
    texts = [f"[[{', '.join(polygon)}]]" for polygon in polygons]
    folder = root / "train2017"
    folder.mkdir()
    path = root / "annotations" / "instances_train2017.json"
    path.parent.mkdir()
    with open(path, "w", encoding="utf-8") as file:
        file.write('{"info": {"year": 2017}, "licenses": [], "images": [')
        for i in range(images):
            (folder / f"{i:012d}.jpg").write_bytes(b"x")
            file.write(
                f'{", " if i else ""}{{"license": 3, "file_name": "{i:012d}.jpg", "coco_url": '
                f'"http://images.cocodataset.org/train2017/{i:012d}.jpg", "height": 480, "width": 640, '
                f'"date_captured": "2013-11-14 11:18:45", "flickr_url": '
                f'"http://farm9.staticflickr.com/8186/{i:010d}_4d4f8f9a2b_z.jpg", "id": {i}}}'
            )
        file.write('], "annotations": [')
        for i in range(boxes):
            x, y, w, h = rng.uniform(0, 300), rng.uniform(0, 200), rng.uniform(5, 300), rng.uniform(5, 250)
            file.write(
                f'{", " if i else ""}{{"segmentation": {rng.choice(texts)}, "area": {w * h * 0.6:.5f}, "iscrowd": 0, '
                f'"image_id": {rng.randrange(images)}, "bbox": [{x:.2f}, {y:.2f}, {w:.2f}, {h:.2f}], '
                f'"category_id": {rng.randint(1, 80)}, "id": {i + 1}}}'
            )
        categories = ", ".join(f'{{"supercategory": "thing", "id": {i}, "name": "class {i}"}}' for i in range(1, 81))
        file.write(f'], "categories": [{categories}]}}')
    return path


def main() -> None:
    """Generates, loads, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=118_000)
    parser.add_argument("--boxes", type=int, default=860_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = generate(Path(folder), args.images, args.boxes)
        print(f"{path.stat().st_size / 1e6:.0f} MB of JSON")
        subprocess.run([sys.executable, "-c", LOAD, folder], check=True, cwd=Path(__file__).parents[1])


if __name__ == "__main__":
    main()
