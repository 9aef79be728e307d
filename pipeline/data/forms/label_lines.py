"""What the numbers on a line of a YOLO label file mean: a box, a polygon, a box with key points, a box with a score.

Format: https://docs.ultralytics.com/datasets/
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Corners = tuple[float, float, float, float]
# Said of lines that are read otherwise than they seem.
SCORE = "line with a sixth number, a score perhaps; it is left out"
POSE = "Ultralytics pose labels: columns 2 to 5 are the box, key points are left out"
PIXELS = "line in pixels, not in shares of the picture (0..1), skipped"
MOST_CLASSES = 100_000
_SLACK = 0.02


@dataclass(frozen=True)
class Meaning:
    """How lines are read.

    Attributes:
        pose: how many numbers a line has behind its class, if it is a box and key points.
    """

    pose: int | None = None

    def read(self, line: str) -> tuple[int, Corners, str | None] | None:
        """Class number, corners (0..1), and what is to be said of it; None if it is neither a box nor a polygon."""
        try:
            numbers = [float(word) for word in line.replace(",", " ").split()]
        except ValueError:
            return None
        count = len(numbers) - 1
        if count < 4 or not numbers[0].is_integer() or not 0 <= numbers[0] < MOST_CLASSES:
            return None
        said = None
        if count == 4 or count == self.pose:
            said = None if count == 4 else POSE
        elif count == 5:
            said = SCORE
        else:
            # A polygon, perhaps with a score behind it.
            ends = len(numbers) if count % 2 == 0 else -1
            xs, ys = numbers[1:ends:2], numbers[2:ends:2]
            # min and max would step over a NaN; a sum does not.
            poison = 0.0 * sum(numbers)
            return int(numbers[0]), (min(xs) + poison, min(ys), max(xs), max(ys)), None if count % 2 == 0 else SCORE
        x, y, w, h = numbers[1:5]
        if min(x, y, w, h) > 1.5:
            said = PIXELS
        return int(numbers[0]), (x - w / 2, y - h / 2, x + w / 2, y + h / 2), said


def meaning_of(lines: Iterable[str], shape: Sequence[int] | None = None) -> Meaning:
    """What lines like these mean.

    Args:
        lines: some of the labels.
        shape: Ultralytics' kpt_shape, how many key points there are and how many numbers each is, if it is known.
    """
    if shape is not None:
        return Meaning(4 + shape[0] * shape[1])
    rows = []
    for line in lines:
        try:
            rows.append([float(word) for word in line.replace(",", " ").split()][1:])
        except ValueError:
            continue
    long = [row for row in rows if len(row) > 6]
    counts = Counter(map(len, long))
    if len(counts) != 1 or len(long) < 4:
        return Meaning()
    count = next(iter(counts))
    for each in (3, 2):
        if (count - 4) % each == 0 and all(_is_pose(row, each) for row in long):
            return Meaning(count)
    return Meaning()


def _is_pose(row: list[float], each: int) -> bool:
    """Whether these numbers are a box within the picture with points of so many numbers within the box."""
    x, y, w, h = row[:4]
    if abs(x - 0.5) + w / 2 > 0.5 + _SLACK or abs(y - 0.5) + h / 2 > 0.5 + _SLACK:
        return False
    points = [row[i : i + each] for i in range(4, len(row), each)]
    if each == 3 and any(point[2] not in (0, 1, 2) for point in points):
        return False
    seen = [point for point in points if point[0] or point[1]]
    return all(abs(px - x) <= w / 2 + _SLACK and abs(py - y) <= h / 2 + _SLACK for px, py, *_ in seen)
