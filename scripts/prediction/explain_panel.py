"""The picture of an explanation: what the model says, where it looked, how sure it is, whose pseudo-mask it was."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image

from scripts.core.errors import InputError
from scripts.images.overlays import COLOURS, outlined
from scripts.images.reading import read_image
from scripts.networks.outputs import upsample_maps

if TYPE_CHECKING:
    from scripts.prediction.explanation import Explanation

COLUMNS = 4
SHOWN_CLASSES = 2
_DPI = 100
# Pixels: everything is placed by hand, so that the fields of all rows stand under each other.
_FIELD, _GAP, _MARGIN, _HEADING, _ROW_TITLE, _TITLE, _SCALE = 400, 22, 18, 66, 34, 24, 46
_MAP = "viridis"
_MUTED = "#5B6570"

Pixels = np.ndarray
"""(h, w, 3) uint8."""


def draw_panel(e: Explanation) -> bytes:
    """Return the picture of an explanation as PNG; the same explanation gives the same bytes."""
    rows: list[tuple[str, Callable[[_Sheet, int], None]]] = [
        ("What the model says", lambda sheet, row: _says(sheet, row, e)),
        ("Where it looked for the class", lambda sheet, row: _looked(sheet, row, e)),
    ]
    if e.entropy is not None:
        rows.append(("How sure it is of the mask", lambda sheet, row: _sure(sheet, row, e)))
    if e.origin.pseudo is not None:
        rows.append(("Whose nearness earned it a pseudo-mask", lambda sheet, row: _donor(sheet, row, e)))
    sheet = _Sheet(e.image, len(rows))
    sheet.heading(*_heading(e))
    for place, (title, draw) in enumerate(rows):
        sheet.row_title(place, title)
        draw(sheet, place)
    return sheet.png()


class _Sheet:
    """Fields in rows of :data:`COLUMNS`, all of the size that fits the image.

    Args:
        image: (H, W, 3) uint8; gives the height of the fields.
        rows: how many.
    """

    def __init__(self, image: Pixels, rows: int) -> None:
        height, width = image.shape[:2]
        self.field = (round(_FIELD * min(1.5, max(0.35, height / width))), _FIELD)
        self.step = _ROW_TITLE + _TITLE + self.field[0] + _SCALE
        self.width = 2 * _MARGIN + COLUMNS * _FIELD + (COLUMNS - 1) * _GAP
        self.height = _HEADING + rows * self.step + _MARGIN
        self.figure = Figure(figsize=(self.width / _DPI, self.height / _DPI), dpi=_DPI)
        FigureCanvasAgg(self.figure)
        self.base = self.fitted(image)

    def fitted(self, image: Pixels) -> Pixels:
        """Return an image resized into a field, its aspect kept."""
        height, width = image.shape[:2]
        scale = min(self.field[0] / height, self.field[1] / width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))

    def heading(self, title: str, line: str) -> None:
        self._text(_MARGIN, 24, title, 14, "black", "bold")
        self._text(_MARGIN, 50, line, 10.5, _MUTED)

    def row_title(self, row: int, text: str) -> None:
        self._text(_MARGIN, _HEADING + row * self.step + 16, text, 11.5, "black", "bold")

    def axes(self, row: int, column: int, size: tuple[int, int], title: str) -> Axes:
        """Return axes of ``size`` (height, width) at the top left of a field."""
        left, top = self._corner(row, column)
        self._text(left, top - 11, title, 10, "black")
        return self._axes(left, top, size)

    def picture(self, row: int, column: int, pixels: Pixels, title: str) -> None:
        axes = self.axes(row, column, (pixels.shape[0], pixels.shape[1]), title)
        axes.set_axis_off()
        axes.imshow(pixels, interpolation="nearest", aspect="auto")

    def heat(self, row: int, column: int, values: np.ndarray, title: str, limits: tuple[float, float]) -> None:
        """A map (H, W) over the grey image, with the scale of its colours; an arrow where values lie above it."""
        low, high = limits if limits[1] > limits[0] else (limits[0], limits[0] + 1.0)
        height, width = self.base.shape[:2]
        resized = Image.fromarray(values.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
        norm = Normalize(low, high, clip=True)
        colours = matplotlib.colormaps[_MAP](norm(np.asarray(resized)))[..., :3] * 255
        grey = self.base.mean(axis=2, keepdims=True)
        self.picture(row, column, np.rint(0.35 * grey + 0.65 * colours).astype(np.uint8), title)
        left, top = self._corner(row, column)
        scale = self._axes(left, top + height + 6, (10, width))
        extend = "max" if float(values.max()) > high * (1 + 1e-6) else "neither"
        self.figure.colorbar(ScalarMappable(norm, _MAP), cax=scale, orientation="horizontal", extend=extend)
        scale.tick_params(labelsize=8, length=3, pad=2)

    def note(self, row: int, column: int, text: str) -> None:
        left, top = self._corner(row, column)
        self._text(left, top + 14, text, 10.5, _MUTED)

    def png(self) -> bytes:
        target = io.BytesIO()
        self.figure.savefig(target, format="png", dpi=_DPI, metadata={"Software": None})
        return target.getvalue()

    def _corner(self, row: int, column: int) -> tuple[int, int]:
        return _MARGIN + column * (_FIELD + _GAP), _HEADING + row * self.step + _ROW_TITLE + _TITLE

    def _axes(self, left: int, top: int, size: tuple[int, int]) -> Axes:
        bottom = 1 - (top + size[0]) / self.height
        return self.figure.add_axes((left / self.width, bottom, size[1] / self.width, size[0] / self.height))

    def _text(self, x: int, y: int, text: str, size: float, colour: str, weight: str = "normal") -> None:
        self.figure.text(
            x / self.width, 1 - y / self.height, text, fontsize=size, color=colour, fontweight=weight,
            va="center" if "\n" not in text else "top", linespacing=1.6, parse_math=False,  # names may hold a $
        )  # fmt: skip


def _heading(e: Explanation) -> tuple[str, str]:
    best = int(e.class_probs.argmax())
    known = e.info.provenance
    model = ", ".join(f"{key} {known[key]}" for key in ("file", "run", "round", "masks") if key in known)
    return (
        f"{e.name}: {e.info.classes[best]}, probability {e.class_probs[best]:.3f}",
        f"Model: {model}. {e.origin.text}",
    )


def _says(sheet: _Sheet, row: int, e: Explanation) -> None:
    """Image, mask, probability, classes."""
    sheet.picture(row, 0, sheet.base, f"image, {e.image.shape[1]} x {e.image.shape[0]} pixels")
    rule = f"probability ≥ {e.info.threshold:.2f}" if e.entropy is not None else "from the class maps"
    share = f"foreground, {100 * float(e.mask.mean()):.1f} % of the image: {rule}"
    sheet.picture(row, 1, outlined(sheet.base, _fitted_mask(e.mask, sheet.base), "prediction"), share)
    if e.entropy is not None:
        sheet.heat(row, 2, e.found.probs, "probability of foreground", (0.0, 1.0))
    _bars(sheet, row, 3, e)


def _looked(sheet: _Sheet, row: int, e: Explanation) -> None:
    """Class maps on one scale, Grad-CAM, Grad-CAM++."""
    order = [int(i) for i in np.argsort(-e.class_probs, kind="stable")[:SHOWN_CLASSES]]
    maps = e.found.class_maps
    limits = (float(maps[order].min()), float(maps[order].max()))
    height, width = sheet.base.shape[:2]
    for column, index in enumerate(order):
        up = upsample_maps(maps[None, index : index + 1], (height, width))[0, 0].numpy()
        sheet.heat(row, column, up, f"class map of {e.info.classes[index]} (class score)", limits)
    name = e.info.classes[e.label]
    for column, values, title in ((2, e.grad_cam, "Grad-CAM"), (3, e.grad_cam_pp, "Grad-CAM++")):
        top = float(values.max())
        sheet.heat(row, column, values / top if top > 0 else values, f"{title} of {name} (of its maximum)", (0.0, 1.0))


def _sure(sheet: _Sheet, row: int, e: Explanation) -> None:
    """Entropies on one scale, variances on another."""
    if e.entropy is None or e.dropout is None or e.flips is None:
        return
    nats = (0.0, float(np.log(2.0)))
    # a few pixels vary much more than all others, which would all be dark
    top = max(*(float(np.quantile(spread.variance, 0.995)) for spread in (e.dropout, e.flips)), 1e-6)
    passes = f"{e.settings['passes']} passes, dropout {e.settings['dropout']:g}"
    sheet.heat(row, 0, e.entropy, "entropy of the prediction (nats)", nats)
    sheet.heat(row, 1, e.dropout.entropy, f"entropy, {passes} (nats)", nats)
    sheet.heat(row, 2, e.dropout.variance, f"variance, {passes} (probability²)", (0.0, top))
    sheet.heat(row, 3, e.flips.variance, "variance over the 4 flips (probability²)", (0.0, top))


def _donor(sheet: _Sheet, row: int, e: Explanation) -> None:
    """The image with its pseudo-mask, the donor with its oracle mask."""
    pseudo = e.origin.pseudo
    if pseudo is None:
        return
    title = f"pseudo-mask of round {e.origin.round}, threshold {pseudo.threshold:.2f}"
    sheet.picture(row, 0, outlined(sheet.base, _fitted_mask(pseudo.mask, sheet.base), "pseudo"), title)
    try:
        donor = None if pseudo.donor_path is None else sheet.fitted(read_image(pseudo.donor_path, e.info.bits))
    except InputError:
        donor = None
    lines = [f"donor: {pseudo.donor}", "Jensen-Shannon distance of", f"the colour histograms: {pseudo.distance:.4f}"]
    if donor is None:
        lines += ["", "The donor's file was not found:", "name its folder with --explain#dataset_dir."]
        sheet.note(row, 1, "\n".join(lines))
        return
    mask = pseudo.donor_mask
    drawn = donor if mask is None else outlined(donor, _fitted_mask(mask, donor), "truth")
    sheet.picture(row, 1, drawn, f"donor {pseudo.donor} with its oracle mask")
    sheet.note(row, 2, "\n".join(lines))


def _bars(sheet: _Sheet, row: int, column: int, e: Explanation) -> None:
    """Probabilities of the most probable classes, each under its name."""
    order = [int(i) for i in np.argsort(-e.class_probs, kind="stable")[:5]]
    height = min(sheet.field[0], 52 * len(order) + 24)
    axes = sheet.axes(row, column, (height, _FIELD), "probability of each class")
    colour = [value / 255 for value in COLOURS["pseudo"]]
    colours = [colour, *[[0.72, 0.75, 0.78]] * (len(order) - 1)]
    axes.barh(range(len(order)), e.class_probs[order], color=colours, height=0.34)
    for place, index in enumerate(order):
        text = f"{e.info.classes[index]}  {e.class_probs[index]:.3f}"
        axes.text(0.0, place - 0.24, text, fontsize=9.5, va="bottom", parse_math=False)
    axes.set_ylim(len(order) - 0.6, -0.75)
    axes.set_xlim(0, 1)
    axes.set_yticks([])
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _fitted_mask(mask: np.ndarray, base: Pixels) -> np.ndarray:
    picture = Image.fromarray((mask == 1).astype(np.float32))
    return np.asarray(picture.resize((base.shape[1], base.shape[0]), Image.Resampling.BILINEAR)) >= 0.5
