"""Synthetic H&E-like colon tissue: glands of two classes among look-alikes, with their exact instance mask.

How an image is made. :mod:`scripts.data.demo.glands` lays out the glands as a signed distance and draws their cells,
:mod:`scripts.data.demo.stroma` draws everything else; both give maps of stain concentration. Beer-Lambert mixing turns
the two concentrations (haematoxylin, eosin) into colours, light = exp(-(h * H + e * E)), and the slide's section and
scanner add what they add: thickness, fading, blur and noise. The mask is *distance < 0*, exact by construction.

Benign glands are round, separate, with one row of nuclei. Malignant glands are branched, crowded, often touching, with
stratified epithelium. Each class has several architectures, each patient a stain, a stroma and a scanner of its own,
and vessels, fat, muscle, lymphoid follicles, debris and mucus have some of the looks of glands: a few masks show a few
of these only, which is what makes it worth choosing them.

All lengths are in pixels of an image whose shorter side is 192; larger images scale them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scripts.data.demo.drawing import Map, blurred, noise
from scripts.data.demo.glands import GROWTHS, epithelium, grow
from scripts.data.demo.stroma import GROUNDS, Ground, lay_out, stroma

CLASSES = tuple(sorted(GROWTHS))
NORMAL = "normal"
"""Class of tissue without glands, of which there is none unless somebody asks for it."""
REFERENCE_SIDE = 192
# Optical densities per unit of stain for red, green and blue (Ruifrok and Johnston 2001, measured on H&E).
HAEMATOXYLIN = (0.644, 0.717, 0.267)
EOSIN = (0.093, 0.954, 0.283)


@dataclass(frozen=True)
class Slide:
    """How one patient's tissue was cut, stained and scanned.

    Attributes:
        haematoxylin: colour vector (3,); eosin likewise.
        strength: of each stain; a faded slide has little of both, a thick section much.
        white: (3,) light of the scanner, 0..255.
        blur: standard deviation in pixels where the image is out of focus; grain: that of the noise, 0..255.
        zoom: magnification of everything.
        ground: stroma of the patient.
    """

    haematoxylin: npt.NDArray[np.floating]
    eosin: npt.NDArray[np.floating]
    strength: tuple[float, float]
    white: npt.NDArray[np.floating]
    blur: float
    grain: float
    zoom: float
    ground: Ground


def random_slide(rng: np.random.Generator) -> Slide:
    """Draw the slide of one patient; the spread is that between laboratories rather than within one."""
    vectors = [np.clip(np.array(v) + rng.normal(0, 0.05, 3), 0.02, None) for v in (HAEMATOXYLIN, EOSIN)]
    vectors = [(v / np.linalg.norm(v)).astype(np.float32) for v in vectors]
    thickness = float(rng.choice([0.65, 0.85, 1.0, 1.2]))
    strength = (thickness * float(rng.uniform(0.75, 1.25)), thickness * float(rng.uniform(0.7, 1.3)))
    return Slide(
        haematoxylin=vectors[0],
        eosin=vectors[1],
        strength=strength,
        white=rng.uniform(228, 253, 3).astype(np.float32),
        blur=float(rng.choice([0.0, 0.6, 1.0, 1.5])),
        grain=float(rng.uniform(2, 6)),
        zoom=float(rng.uniform(0.85, 1.2)),
        ground=GROUNDS[int(rng.integers(len(GROUNDS)))],
    )


def render_tissue(
    kind: str, size: tuple[int, int], slide: Slide, rng: np.random.Generator, place: int = 0
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return one image (H, W, 3) uint8 RGB and its mask (H, W) uint8: 0 stroma, 1.. one number per gland.

    Args:
        kind: one of :data:`CLASSES`, or :data:`NORMAL` for stroma and what lies in it alone.
        size: (H, W) in pixels.
        slide: of the patient, see :func:`random_slide`.
        rng: every random choice comes from here.
        place: which architecture of the class; they take turns.
    """
    scale = min(size) / REFERENCE_SIDE * slide.zoom
    if kind == NORMAL:
        structures = lay_out(size, scale, rng)
        far = np.full(size, 2.0 * sum(size), np.float32)  # distance to the nearest gland
        h, e = stroma(slide.ground, far, structures, scale, rng)
        return _scanned(h, e, slide, min(size) / REFERENCE_SIDE, rng), np.zeros(size, np.uint8)
    growth = GROWTHS[kind][place % len(GROWTHS[kind])]
    structures = lay_out(size, scale, rng)
    glands, owner = grow(growth, size, scale, np.min([*structures.values()], axis=0), rng)
    outside = stroma(slide.ground, glands, structures, scale, rng)
    inside = epithelium(growth, -glands, owner, scale, rng)
    edge = np.clip(0.5 - glands, 0, 1)  # one soft pixel, as an optical border has
    h, e = (edge * a + (1 - edge) * b for a, b in zip(inside, outside, strict=True))
    mask = np.where(glands < 0, owner + 1, 0)
    numbers = np.unique(mask[mask > 0])  # a gland that others cover entirely leaves no gap in the numbers
    mask = np.where(mask > 0, np.searchsorted(numbers, mask) + 1, 0).astype(np.uint8)
    return _scanned(h, e, slide, min(size) / REFERENCE_SIDE, rng), mask


def _scanned(h: Map, e: Map, slide: Slide, scale: float, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Beer-Lambert: concentrations (H, W) to RGB (H, W, 3) uint8, with uneven staining, focus and sensor noise."""
    size = h.shape
    uneven = 1 + 0.08 * noise(size, max(size) / 2, rng)
    amounts = [np.clip(c, 0, None) * uneven * s for c, s in zip((h, e), slide.strength, strict=True)]
    density = amounts[0][..., None] * slide.haematoxylin + amounts[1][..., None] * slide.eosin
    light = slide.white * np.exp(-1.25 * density)
    if slide.blur:
        unsharp = np.clip(0.6 + 0.5 * noise(size, max(size) / 2, rng), 0, 1)[..., None]
        light = light + unsharp * (blurred(light, slide.blur * scale) - light)
    light = light + rng.normal(0, slide.grain, (*size, 3))
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)
