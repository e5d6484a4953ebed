"""What a prediction leaves on the disk: mask, probabilities, class-activation map and overlay of each image.

======================  ==============================================  ================================================
file                    for a picture                                   for NIfTI, with the geometry of the input
======================  ==============================================  ================================================
``masks/<id>``          PNG, 8-bit grey: 0 and 255                      uint8: 0 and 1
``probabilities/<id>``  PNG, grey: probability times 255 or 65535       float32 in [0, 1]
``cams/<id>``           PNG, colours, each scaled by its own extremes   float32, as the network gives it, unbounded
``overlays/<id>.png``   PNG, image | CAM | prediction                   the same
======================  ==============================================  ================================================
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from PIL import Image

from scripts.core.errors import InputError, Problem
from scripts.core.files import write_atomic
from scripts.images.files.names import image_suffix, is_nifti
from scripts.images.overlays import heat_colours, prediction_panel
from scripts.images.png import quick_png
from scripts.networks.model_file import ModelInfo
from scripts.networks.outputs import Prediction, upsample_maps
from scripts.prediction.listing import ListedImage
from scripts.prediction.transforms import classification

MAPS = ("masks", "probabilities", "cams")
BITS = (8, 16)
_STRIP = 512  # rows


def result_paths(folder: Path, image: ListedImage) -> dict[str, Path]:
    """Return where the results of an image go, by sub-folder."""
    suffix = image_suffix(image.path) if is_nifti(image.path) else ".png"
    found = {name: folder / name / f"{image.id}{suffix}" for name in MAPS}
    return {**found, "overlays": folder / "overlays" / f"{image.id}.png"}


def write_results(
    folder: Path,
    image: ListedImage,
    found: Prediction,
    mask: np.ndarray,
    preview: np.ndarray,
    info: ModelInfo,
    bits: int = 8,
    overlays: bool = True,
) -> None:
    """Write the results of one image, each file as a whole; earlier ones are replaced.

    A model whose masks are the classifier's (``wsl``) has no probabilities: its decoder was never trained.

    Args:
        folder: of the results.
        image: which one.
        found: what the network says.
        mask: (H, W) uint8 in {0, 1}.
        preview: (h, w, 3) uint8, the image for the overlay.
        info: of the model.
        bits: 8 or 16, of the PNG of probabilities.
        overlays: whether there are overlays.

    Raises:
        StateError: a file cannot be written.
    """
    paths = result_paths(folder, image)
    label = int(found.scores.argmax())
    cam = upsample_maps(found.class_maps[None, label : label + 1], found.size)[0, 0].numpy()  # (H, W)
    probs = found.probs if info.mask_from == "decoder" else None
    maps: dict[str, np.ndarray] = {"masks": mask, "cams": cam}
    if probs is not None:
        maps["probabilities"] = probs
    if is_nifti(image.path):
        contents = {name: nifti_bytes(values, image.path) for name, values in maps.items()}
    else:
        contents = {name: _png_of(name, values, bits) for name, values in maps.items()}
    if overlays:
        contents["overlays"] = quick_png(_overlay(image, found, mask, probs, cam, preview, info))
    for name, path in paths.items():
        if name in contents:
            write_atomic(path, contents[name])
        else:
            path.unlink(missing_ok=True)  # of another model


def remove_results(folder: Path, image: ListedImage) -> None:
    """Remove what an earlier prediction wrote for an image that cannot be read any more."""
    for path in result_paths(folder, image).values():
        path.unlink(missing_ok=True)


def probability_png(probs: np.ndarray, bits: int = 8) -> bytes:
    """Return a PNG (H, W) of probabilities in [0, 1], rounded to levels of 1 / 255 or 1 / 65535.

    Raises:
        InputError: another number of bits.
    """
    if bits not in BITS:
        raise InputError(Problem("unknown depth of a PNG", "save#bits", "8 or 16", str(bits)))
    kind: type = np.uint8 if bits == 8 else np.uint16
    top = np.iinfo(kind).max
    return quick_png(_by_strips(probs, lambda strip: np.rint(strip.astype(np.float64) * top).astype(kind)))


def nifti_bytes(values: np.ndarray, like: Path) -> bytes:
    """Return a NIfTI file of a map (H, W) with the geometry of the file ``like``, compressed if that is.

    Affine, its codes, voxel sizes and units are those of ``like``; so is an axis of length 1 behind x and y.
    """
    source: Any = nibabel.load(like, mmap=False)
    spatial = (*source.shape[:2], *((1,) if source.shape[2:3] == (1,) else ()))
    array = np.ascontiguousarray(values.T).reshape(spatial)  # (H, W) -> (X, Y[, 1])
    header = source.header.copy()
    header.set_data_dtype(array.dtype)
    header["cal_min"] = header["cal_max"] = 0  # a display window of the input's values
    kind = nibabel.Nifti2Image if isinstance(source, nibabel.Nifti2Image) else nibabel.Nifti1Image
    content = kind(array, source.affine, header).to_bytes()
    return gzip.compress(content, 6, mtime=0) if like.name.lower().endswith(".gz") else content


def _by_strips(values: np.ndarray, convert: Callable[[np.ndarray], np.ndarray]) -> Image.Image:
    """Return the picture of a map (H, W), converted some rows at a time: wide numbers of all of it need not fit."""
    first = convert(values[:1])
    whole = np.empty((len(values), *first.shape[1:]), first.dtype)
    for top in range(0, len(values), _STRIP):
        whole[top : top + _STRIP] = convert(values[top : top + _STRIP])
    return Image.fromarray(whole)


def _png_of(name: str, values: np.ndarray, bits: int) -> bytes:
    if name == "masks":
        return quick_png(Image.fromarray(values * np.uint8(255)))
    if name == "probabilities":
        return probability_png(values, bits)
    limits = (float(values.min()), float(values.max()))
    return quick_png(_by_strips(values, lambda strip: heat_colours(strip, limits)))


def _overlay(
    image: ListedImage,
    found: Prediction,
    mask: np.ndarray,
    probs: np.ndarray | None,
    cam: np.ndarray,
    preview: np.ndarray,
    info: ModelInfo,
) -> Image.Image:
    named = classification(found, info)
    name = named["class"]
    title = f"{image.name}: {name}, probability {named['probabilities'][name]:.2f}"
    share = f"{100 * float(mask.mean()):.1f} % foreground"
    threshold = f", threshold {info.threshold:.2f}" if info.mask_from == "decoder" else ""
    labels = {"cam": f"of {name}", "probability": "violet 0, yellow 1", "prediction": share + threshold}
    return prediction_panel(preview, cam, probs, mask, title, labels)
