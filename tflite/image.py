"""From an image file to the pixels a model sees, and boxes there and back. The one resize rule of training,
calibration, evaluation, prediction and the app. Needs Pillow and NumPy only.
"""

from __future__ import annotations

import importlib
import io
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

RULES = ("stretch", "letterbox", "mediapipe")
LETTERBOX_FILL = 114
MAX_PIXELS = 178_956_970
# More than MAX_PIXELS need without any compression, at 16 bits and with transparency.
MAX_BYTES = 2 << 30
SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".mpo"),
    *(".avif", ".heic", ".heif"),
)
# Of a pixel, between which `mediapipe` samples.
_STEPS = 32
# Named, because Pillow would otherwise also try formats that start other programs (EPS). MPO opens as JPEG.
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM", "AVIF")
# ISO/IEC 23008-12: the brands of a file of pictures in HEVC, after "ftyp".
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
# pi-heif is the one whose wheels hold no GPL code; pillow-heif is taken where somebody has it.
_HEIC_READERS = ("pi_heif", "pillow_heif")
_ORIENTATION = 0x0112
_TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Fit:
    """How an image was laid into a model's input: model = image * scale + pad, in pixels, per axis.

    Attributes:
        rule: one of RULES.
        source: (height, width) of the image.
        target: (height, width) of the model's input.
        scale_x: model pixels per image pixel.
        scale_y: model pixels per image pixel.
        pad_x: model pixels left of the image.
        pad_y: model pixels above the image.
    """

    rule: str
    source: tuple[int, int]
    target: tuple[int, int]
    scale_x: float
    scale_y: float
    pad_x: int
    pad_y: int

    def boxes_to_model(self, boxes_xyxy: np.ndarray) -> np.ndarray:
        """Boxes (n, 4) in image pixels -> float32 (n, 4) in model pixels."""
        scale, pad = self._per_edge()
        return (np.asarray(boxes_xyxy, np.float64).reshape(-1, 4) * scale + pad).astype(np.float32)

    def boxes_to_image(self, boxes_xyxy: np.ndarray) -> np.ndarray:
        """Boxes (n, 4) in model pixels -> float32 (n, 4) in image pixels, clipped to the image."""
        scale, pad = self._per_edge()
        height, width = self.source
        boxes = (np.asarray(boxes_xyxy, np.float64).reshape(-1, 4) - pad) / scale
        return np.clip(boxes, 0, (width, height, width, height)).astype(np.float32)

    def boxes_to_recorded(self, boxes_xyxy: np.ndarray, recorded: tuple[int, int] | None) -> np.ndarray:
        """`boxes_to_image` in pixels of the (height, width) that an image, perhaps saved since, is recorded with."""
        boxes = self.boxes_to_image(boxes_xyxy)
        if recorded is None:
            return boxes
        ratio_y, ratio_x = np.asarray(recorded, np.float64) / self.source
        return boxes * np.array([ratio_x, ratio_y, ratio_x, ratio_y])

    def _per_edge(self) -> tuple[np.ndarray, np.ndarray]:
        scale = np.array([self.scale_x, self.scale_y, self.scale_x, self.scale_y])
        return scale, np.array([self.pad_x, self.pad_y, self.pad_x, self.pad_y])


def fit_to(source: tuple[int, int], target: tuple[int, int], rule: str = "stretch") -> Fit:
    """The Fit of an image of size `source` in an input of size `target`, both (height, width).

    Raises ValueError for an unknown rule or a size that is not positive.
    """
    if rule not in RULES:
        raise ValueError(f"resize: unknown rule, got {rule!r}; allowed: {', '.join(RULES)}")
    if min(*source, *target) < 1:
        raise ValueError(f"resize: sizes must be positive (height, width), got {tuple(source)} -> {tuple(target)}")
    (height, width), (to_height, to_width) = source, target
    pad_x = pad_y = 0
    if rule == "letterbox":
        scale = min(to_height / height, to_width / width)
        to_height = min(max(round(height * scale), 1), to_height)
        to_width = min(max(round(width * scale), 1), to_width)
        pad_y, pad_x = (target[0] - to_height) // 2, (target[1] - to_width) // 2
    return Fit(rule, (height, width), (target[0], target[1]), to_width / width, to_height / height, pad_x, pad_y)


def resize(image: np.ndarray, size: tuple[int, int], rule: str = "stretch") -> tuple[np.ndarray, Fit]:
    """Lay an image into a model's input.

    Each axis that shrinks to half or less is first averaged in blocks of floor(factor) pixels (the last block may be
    smaller), then bilinear with half-pixel centres, clamped at the edges, result rounded down: below factor 2 it is
    the bilinear of OpenCV. `letterbox` keeps the aspect, centred on grey 114. `mediapipe` is what MediaPipe Tasks does
    on a CPU: nothing is averaged, and pixel i is sampled at i times the factor, to the nearest 1/32 pixel (OpenCV's
    warpPerspective in fixed point); exactly between two such steps it mostly takes the even one, and we always.

    Args:
        image: uint8 (H, W, 3).
        size: (height, width) wanted.
        rule: one of RULES.

    Returns:
        uint8 (height, width, 3) and the Fit that maps boxes.

    Raises:
        ValueError: not a uint8 RGB image, unknown rule, or a size that is not positive.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"resize: an image must be uint8 (height, width, 3), got {image.dtype} {image.shape}")
    fit = fit_to((image.shape[0], image.shape[1]), (int(size[0]), int(size[1])), rule)
    if fit.source == fit.target:
        return image, fit
    if rule == "mediapipe":
        return _sampled(image, fit.target), fit
    return _averaged(Image.fromarray(image), fit), fit


def _averaged(picture: Image.Image, fit: Fit, halved: int = 1) -> np.ndarray:
    """The pixels of `resize`; `picture` may be one whose sides the decoder already divided by `halved`."""
    height, width = fit.source
    inner = (round(width * fit.scale_x), round(height * fit.scale_y))
    step_x, step_y = (max(full // (small * halved), 1) for full, small in zip((width, height), inner, strict=True))
    if step_x > 1 or step_y > 1:
        picture = picture.reduce((step_x, step_y))
    # From the true ratio, not from the reduced image's size: its last block may stand for fewer pixels.
    affine = (1 / fit.scale_x / (halved * step_x), 0, 0, 0, 1 / fit.scale_y / (halved * step_y), 0)
    pixels = np.asarray(picture.transform(inner, Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR))
    if pixels.shape[:2] == fit.target:
        return pixels
    padded = np.full((*fit.target, 3), LETTERBOX_FILL, np.uint8)
    padded[fit.pad_y : fit.pad_y + inner[1], fit.pad_x : fit.pad_x + inner[0]] = pixels
    return padded


def _sampled(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear without half-pixel centres, in whole numbers, rounded half up."""

    def taps(target: int, source: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        at = np.rint(_STEPS * source * np.arange(target) / target).astype(np.int64)
        first = np.minimum(at // _STEPS, source - 1)
        return first, np.minimum(first + 1, source - 1), (at % _STEPS).astype(np.int32)

    (upper, lower, down), (left, right, across) = map(taps, size, image.shape[:2])

    def mixed(rows: np.ndarray) -> np.ndarray:
        return image[rows][:, left] * (_STEPS - across)[:, None] + image[rows][:, right] * across[:, None]

    whole = _STEPS * _STEPS
    total = mixed(upper) * (_STEPS - down)[:, None, None] + mixed(lower) * down[:, None, None]
    return ((total + whole // 2) // whole).astype(np.uint8)


def load_image(path: str | Path, expected_size: tuple[int, int] | None = None) -> np.ndarray:
    """Decode an image file to uint8 RGB (H, W, 3).

    Grey, palette, CMYK and the like become RGB; 16 bits become the upper 8; transparency is laid over black; of an
    animation, the first frame. EXIF orientation is applied, unless `expected_size` says that the boxes were drawn on
    the picture as stored.

    Args:
        path: the file.
        expected_size: (height, width) the annotations recorded, if any.

    Raises:
        ValueError: missing, empty, truncated, not an image, or more than MAX_PIXELS pixels; the message names the file.
    """
    return decode_image(_read(Path(path)), path, expected_size)


def load_small(
    path: str | Path, size: tuple[int, int], rule: str = "stretch", expected_size: tuple[int, int] | None = None
) -> np.ndarray:
    """About what `load_image` and `resize` give, faster: to train on, where a level more or less teaches the same.

    A JPEG at least twice as large as `size` on both sides is decoded at a half, a quarter or an eighth of it, by the
    decoder's own average of the pixels (libjpeg's scaled inverse DCT); what is left to shrink is averaged as ever. All
    other pictures, and all under the rule `mediapipe`, are exactly what the two functions give.

    Args:
        path: the file.
        size: (height, width) wanted.
        rule: one of RULES.
        expected_size: (height, width) the annotations recorded, if any.

    Returns:
        uint8 (height, width, 3).

    Raises:
        ValueError: what `load_image` and `resize` raise.
    """
    picture = _open(_read(Path(path)), path)
    width, height = picture.size
    fit = fit_to((height, width), size, rule)
    try:
        halved = _halve(picture, size, rule)
        picture.load()
        stored = _rgb(picture)
        shown = _upright(stored, picture, expected_size, halved)
    except Exception as error:
        raise _damaged(path, error) from None
    if shown.size != stored.size:
        fit = fit_to((width, height), size, rule)
    if rule == "mediapipe" or fit.source == fit.target:
        return resize(np.asarray(shown), size, rule)[0]
    # Straight from the decoder's own image: to an array and back costs as much as shrinking it.
    return _averaged(shown, fit, halved)


def decode_image(data: bytes, name: str | Path, expected_size: tuple[int, int] | None = None) -> np.ndarray:
    """`load_image` for bytes already in memory; `name` is for messages."""
    picture = _open(data, name)
    try:
        picture.load()
        return np.asarray(_upright(_rgb(picture), picture, expected_size))
    # A damaged file makes Pillow's parsers raise almost anything (SyntaxError, struct.error, zlib.error, ...).
    except Exception as error:
        raise _damaged(name, error) from None


def _read(path: Path) -> bytes:
    try:
        found = path.stat()
        # A pipe or a device has no end, or none soon.
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(f"{path}: image cannot be read (not a regular file)")
        if found.st_size > MAX_BYTES:
            raise ValueError(f"{path}: image file has {found.st_size} bytes; allowed: {MAX_BYTES}")
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: image cannot be read ({error.strerror or error})") from None
    if not data:
        raise ValueError(f"{path}: image file is empty")
    return data


def _open(data: bytes, name: str | Path) -> Image.Image:
    is_heic = data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS and b"avif" not in data[16:48]
    if is_heic and not reads_heic():
        raise ValueError(f"{name}: HEIC, which needs pi-heif; `pip install 'micro-yolo[heic]'` brings it")
    try:
        picture = Image.open(io.BytesIO(data), formats=("HEIF",) if is_heic else _FORMATS)
    except Image.DecompressionBombError:
        raise ValueError(f"{name}: image has too many pixels; allowed: {MAX_PIXELS}") from None
    except Exception as error:
        if is_heic:
            raise _damaged(name, error) from None
        raise ValueError(f"{name}: not an image; allowed: {', '.join(_FORMATS)}") from None
    if picture.width * picture.height > MAX_PIXELS:
        raise ValueError(f"{name}: image has {picture.width}x{picture.height} pixels; allowed: {MAX_PIXELS}")
    return picture


def _damaged(name: str | Path, error: Exception) -> ValueError:
    return ValueError(f"{name}: image is damaged or truncated ({type(error).__name__}: {error})")


def _halve(picture: Image.Image, size: tuple[int, int], rule: str) -> int:
    """Has a JPEG, not yet loaded, decoded with its sides divided by what is returned: 1, 2, 4 or 8."""
    if picture.format != "JPEG" or rule == "mediapipe":
        return 1
    turned = picture.getexif().get(_ORIENTATION, 1) in _TURNED
    sides = (picture.height, picture.width)
    fits = [fit_to(source, size, rule) for source in ((sides, sides[::-1]) if turned else (sides,))]
    least = min(1 / max(fit.scale_x, fit.scale_y) for fit in fits)
    for halved in (8, 4, 2):
        # The last block of sides that do not divide stands for fewer pixels; turned, it would be the first.
        if halved <= least and not (turned and any(side % halved for side in sides)):
            picture.draft(picture.mode, (picture.width // halved, picture.height // halved))
            return halved
    return 1


@cache
def reads_heic() -> bool:
    """Teach Pillow HEIC, the form of iPhones' pictures; False if no library that reads it is installed."""
    for name in _HEIC_READERS:
        with suppress(ImportError):
            importlib.import_module(name).register_heif_opener()
            return True
    return False


def find_images(path: str | Path) -> list[Path]:
    """The image files in a folder and below it, by suffix, sorted; hidden ones left out. Links are followed once."""
    return sorted(file for _, files in walk(path) for file in files if file.suffix.lower() in SUFFIXES)


def walk(path: str | Path) -> Iterator[tuple[Path, list[Path]]]:
    """Each folder from `path` down, and its files; hidden ones left out. Links are followed, but to no folder twice."""
    seen: set[Path] = set()
    for folder, below, files in os.walk(path, followlinks=True):
        real = Path(folder).resolve()
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        # In order, so that of several ways into a folder it is always the same one that is taken.
        below[:] = sorted(name for name in below if not name.startswith("."))
        here = (Path(folder, name) for name in sorted(files) if not name.startswith("."))
        yield Path(folder), [file for file in here if file.is_file()]


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGB":
        return picture
    if picture.mode.startswith("I"):
        values = np.asarray(picture).astype(np.int64)
        deep = picture.mode != "I" or values.max(initial=0) > 255
        return Image.fromarray(np.clip(values >> 8 if deep else values, 0, 255).astype(np.uint8)).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, picture).convert("RGB")
    return picture.convert("RGB")


def _upright(
    rgb: Image.Image, original: Image.Image, expected_size: tuple[int, int] | None, halved: int = 1
) -> Image.Image:
    turn = _TURNED.get(original.getexif().get(_ORIENTATION, 1))
    if turn is None:
        return rgb
    stored, turned = (rgb.height * halved, rgb.width * halved), (rgb.width * halved, rgb.height * halved)
    if expected_size is not None:
        expected = (int(expected_size[0]), int(expected_size[1]))
        swaps = turn not in (_TURNED[2], _TURNED[3], _TURNED[4])
        if swaps and expected == stored != turned:
            return rgb
    return rgb.transpose(turn)
