"""One picture per image: image | truth | CAM | prediction | pseudo-mask, or fewer of them, with contours and captions.

Contours have a dark rim, so that they stand out on pale lumen and on dark nuclei alike, and colours of the
colour-blind-safe palette of Okabe and Ito; the truth is drawn in every column, to compare by eye.
"""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from scripts.core.errors import InputError, Problem
from scripts.images.regions import grown
from scripts.images.values import FOREGROUND, IGNORE

COLOURS = {"truth": (86, 220, 255), "prediction": (255, 230, 40), "pseudo": (255, 150, 0)}
COLUMNS = ("image", "truth", "cam", "prediction", "pseudo")
NAMES = {"image": "image", "truth": "truth", "cam": "CAM", "prediction": "prediction", "pseudo": "pseudo-mask"}
NAMES |= {"probability": "probability"}  # a column of prediction_panel alone
LONG_SIDE = 320
_GAP, _TITLE_ROW, _CAPTION_ROW = 6, 30, 24
_INK, _PAPER, _RIM = (30, 30, 30), (255, 255, 255), (0, 0, 0)


def overlay_panel(
    image: npt.NDArray[np.uint8],
    truth: npt.NDArray[np.uint8] | None,
    cam: npt.NDArray[np.floating] | None,
    probs: npt.NDArray[np.floating] | None,
    pred: npt.NDArray | None,
    pseudo: npt.NDArray | None,
    title: str,
    labels: Mapping[str, str] | None = None,
) -> Image.Image:
    """Draw one row of pictures; what is ``None`` gets an empty field that says so.

    Args:
        image: (H, W, 3) uint8 RGB.
        truth: (H, W) uint8, 0 background, 1 foreground, 255 ignore (drawn in grey).
        cam: (H, W) float of any range, scaled by its own minimum and maximum.
        probs: (H, W) float in [0, 1], probability of foreground: a tint under the contour of ``pred``.
        pred: (H, W) bool or {0, 1}.
        pseudo: (H, W) bool or {0, 1}.
        title: line above the row.
        labels: column (one of :data:`COLUMNS`) -> what stands behind its name, e.g. ``{"prediction": "Dice 0.83"}``.

    Returns:
        RGB picture, each column at most 320 pixels long.

    Raises:
        InputError: a map has another size than the image, or ``labels`` names no column.
    """
    maps = {"truth": truth, "cam": cam, "probs": probs, "pred": pred, "pseudo": pseudo}
    _check(image, maps, labels or {})
    height, width = image.shape[:2]
    scale = LONG_SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    base = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
    small = {name: None if values is None else _resized(values, size) for name, values in maps.items()}
    fields = {
        "image": base,
        "truth": outlined(_veiled(base, small["truth"]), small["truth"], "truth"),
        "cam": None if small["cam"] is None else outlined(heat_map(base, small["cam"]), small["truth"], "truth"),
        "prediction": _predicted(base, small),
        "pseudo": outlined(outlined(base, small["truth"], "truth"), small["pseudo"], "pseudo"),
    }
    missing = {"truth": truth is None, "prediction": pred is None and probs is None, "pseudo": pseudo is None}
    shown = {name: None if missing.get(name) else field for name, field in fields.items()}
    return _assembled(shown, size, title, labels or {})


def prediction_panel(
    image: npt.NDArray[np.uint8],
    cam: npt.NDArray[np.floating],
    probs: npt.NDArray[np.floating] | None,
    pred: npt.NDArray,
    title: str,
    labels: Mapping[str, str] | None = None,
    long_side: int = 448,
) -> Image.Image:
    """Draw image | CAM | probability | prediction of an image without a true mask.

    Args:
        image: (h, w, 3) uint8 RGB.
        cam, probs, pred: (H, W) of any size each, stretched over the image; as in :func:`overlay_panel`. Without
            ``probs`` there is no such column.
        title: line above the row.
        labels: as in :func:`overlay_panel`.
        long_side: of each column, in pixels.

    Returns:
        RGB picture.
    """
    height, width = image.shape[:2]
    scale = long_side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    base = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
    fields: dict[str, npt.NDArray | None] = {"image": base, "cam": heat_map(base, _resized(cam, size))}
    if probs is not None:
        fields["probability"] = _tinted(base, _resized(probs, size), 0.6)
    drawn = Image.fromarray((pred == FOREGROUND).view(np.uint8) * np.uint8(255))  # a byte per pixel: it may be large
    mask = np.asarray(drawn.resize(size, Image.Resampling.BILINEAR)) >= 128
    fields["prediction"] = outlined(base, mask, "prediction")
    return _assembled(fields, size, title, labels or {})


def heat_colours(values: npt.NDArray[np.floating], limits: tuple[float, float]) -> npt.NDArray[np.uint8]:
    """Return (H, W, 3) uint8: a map (H, W) in viridis, dark violet at the lower limit and yellow at the upper one."""
    low, high = limits
    levels = np.zeros(values.shape) if high <= low else (values - low) / (high - low)
    return (matplotlib.colormaps["viridis"](levels, bytes=True))[..., :3]


def _check(image: npt.NDArray, maps: Mapping[str, npt.NDArray | None], labels: Mapping[str, str]) -> None:
    problems = []
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        problems.append(Problem("not an RGB image", "overlay", "(H, W, 3) uint8", f"{image.shape} {image.dtype}"))
    for name, values in maps.items():
        if values is not None and values.shape != image.shape[:2]:
            found = str(values.shape)
            problems.append(Problem("another size than the image", f"overlay {name}", str(image.shape[:2]), found))
    for name in labels:
        if name not in COLUMNS:
            problems.append(Problem("no such column", f"overlay label {name!r}", " | ".join(COLUMNS)))
    if problems:
        raise InputError(problems)


def _resized(values: npt.NDArray, size: tuple[int, int]) -> npt.NDArray:
    """Scores (float) stay scores; masks stay 0, 1 and 255, with a smooth border instead of enlarged pixels."""

    def smooth(scores: npt.NDArray) -> npt.NDArray:
        return np.asarray(Image.fromarray(scores.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))

    if np.issubdtype(values.dtype, np.floating):
        return smooth(values)
    mask = (smooth(values == FOREGROUND) >= 0.5).astype(np.uint8)
    mask[smooth(values == IGNORE) >= 0.5] = IGNORE
    return mask


def outlined(field: npt.NDArray, mask: npt.NDArray | None, colour: str) -> npt.NDArray:
    """Return (H, W, 3) ``field`` with the contour of the mask's foreground, in a colour of :data:`COLOURS`.

    The line lies on the inside, its rim around it.
    """
    if mask is None:
        return field
    inside = mask == FOREGROUND
    line = inside & grown(grown(~inside))
    # Where the mask runs out of the picture there is no border to draw: grown sees nothing beyond the edge.
    rim = grown(line) & ~line
    drawn = field.copy()
    drawn[rim] = (0.45 * drawn[rim]).astype(np.uint8)
    drawn[line] = COLOURS[colour]
    return drawn


def _veiled(field: npt.NDArray, truth: npt.NDArray | None) -> npt.NDArray:
    """Background of the truth dimmed, ignored pixels grey."""
    if truth is None:
        return field
    drawn = field.copy()
    drawn[truth == 0] = (0.55 * drawn[truth == 0]).astype(np.uint8)
    drawn[truth == IGNORE] = 128
    return drawn


def heat_map(field: npt.NDArray, cam: npt.NDArray) -> npt.NDArray:
    """Return an image under a map of any range, (H, W, 3) uint8: grey tinted from violet (least) to yellow (most)."""
    low, high = float(cam.min()), float(cam.max())
    return _tinted(field, (cam - low) / (high - low) if high > low else np.zeros_like(cam), 0.6)


def _tinted(field: npt.NDArray, values: npt.NDArray, weight: float) -> npt.NDArray:
    """Grey version of the field under the colour scale viridis; dark violet is 0, yellow is 1."""
    grey = field.mean(axis=2, keepdims=True)
    scale = matplotlib.colormaps["viridis"](np.clip(values, 0, 1))[..., :3] * 255
    return np.rint((1 - weight) * grey + weight * scale).astype(np.uint8)


def _predicted(base: npt.NDArray, small: Mapping[str, npt.NDArray | None]) -> npt.NDArray:
    probs = small["probs"]
    field = base if probs is None else _tinted(base, probs, 0.45)
    return outlined(outlined(field, small["truth"], "truth"), small["pred"], "prediction")


def _assembled(
    fields: Mapping[str, npt.NDArray | None], size: tuple[int, int], title: str, labels: Mapping[str, str]
) -> Image.Image:
    width, height = size
    step = width + _GAP
    sheet = Image.new("RGB", (step * len(fields) + _GAP, _TITLE_ROW + _CAPTION_ROW + height + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, _TITLE_ROW / 2), title, _INK, ImageFont.load_default(17), anchor="lm")
    font = ImageFont.load_default(14)
    for place, (name, field) in enumerate(fields.items()):
        left, middle = _GAP + place * step, _TITLE_ROW + _CAPTION_ROW / 2
        text = left
        if name in COLOURS:  # a patch of the contour's colour is the legend
            draw.rectangle((left, middle - 6, left + 12, middle + 6), COLOURS[name], _RIM)
            text += 18
        caption = f"{NAMES[name]}  {labels[name]}" if name in labels else NAMES[name]
        draw.text((text, middle), _fitting(caption, font, left + width - text), _INK, font, anchor="lm")
        top = _TITLE_ROW + _CAPTION_ROW
        if field is None:
            draw.rectangle((left, top, left + width - 1, top + height - 1), (235, 235, 235))
            draw.text((left + width / 2, top + height / 2), "none", (110, 110, 110), font, anchor="mm")
        else:
            sheet.paste(Image.fromarray(np.ascontiguousarray(field)), (left, top))
    return sheet


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float) -> str:
    """The text, cut short with an ellipsis where it is wider than its column."""
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "…") > room:
        text = text[:-1]
    return text + "…"
