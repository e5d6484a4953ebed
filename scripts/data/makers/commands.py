"""The commands ``python -m scripts.data folder | glas | cub | folds | slides | top``: make the table of a data set."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from scripts.data.datalist import write_table
from scripts.data.makers.cub import cub_items
from scripts.data.makers.folder import folder_items
from scripts.data.makers.folds import PREFIX, add_folds
from scripts.data.makers.given import Made
from scripts.data.makers.glas import glas_items
from scripts.data.makers.slide_tiles import TileRule
from scripts.data.makers.slides import slide_items
from scripts.data.makers.top_regions import keep_top
from scripts.data.splits import SPLITS
from scripts.images.slide_files.tissue import BLACK, WHITE

logger = logging.getLogger(__name__)


def folder(
    images: str,
    labels: str | None = None,
    masks: str | None = None,
    out: str = "data.csv",
    seed: int = 0,
    val_fraction: float = 0.2,
    test_fraction: float = 0.2,
    group_by_patient: bool = False,
    mask_pattern: str | None = None,
) -> None:
    """Make the table of a folder of images.

    Args:
        images: folder of images; folders below it are searched too.
        labels: CSV with columns image,label[,split][,patient_id]; else folders are classes (benign/a.png).
        masks: folder of masks named as their images, perhaps with mask, anno, seg ... before or behind, and numbers.
        out: CSV to write.
        seed: of the split, where the labels name none.
        val_fraction: of the images of each class left without test.
        test_fraction: of the images of each class.
        group_by_patient: keep each patient within one split.
        mask_pattern: how a mask is named, such as '{image}_roi*'; * stands for any text.
    """
    made = folder_items(
        str(images), None if labels is None else str(labels), None if masks is None else str(masks), seed, val_fraction,
        test_fraction, group_by_patient, None if mask_pattern is None else str(mask_pattern),
    )  # fmt: skip
    _write(made, Path(str(out)))


def glas(
    directory: str, out: str | None = None, seed: int = 0, val_fraction: float = 0.2, group_by_patient: bool = False
) -> None:
    """Make the table of the official GlaS folder.

    Args:
        directory: the folder, with train_1.bmp, train_1_anno.bmp, ..., Grade.csv.
        out: CSV to write; splits.csv in the folder unless given.
        seed: of the choice of validation images.
        val_fraction: of the official training images of each class.
        group_by_patient: keep training and validation apart by patient.
    """
    made = glas_items(str(directory), seed, val_fraction, group_by_patient)
    _write(made, Path(str(directory), "splits.csv") if out is None else Path(str(out)))


def cub(directory: str, out: str | None = None, val_per_class: int = 6, seed: int = 0) -> None:
    """Make the table of CUB-200-2011.

    Args:
        directory: the folder CUB_200_2011, with segmentations/ moved into it.
        out: CSV to write; splits.csv in the folder unless given.
        val_per_class: validation images taken from each class's training images.
        seed: of that choice.
    """
    made = cub_items(str(directory), val_per_class, seed)
    _write(made, Path(str(directory), "splits.csv") if out is None else Path(str(out)))


def slides(
    slides: str,
    labels: str,
    out: str = "slide_pool",
    masks: str | None = None,
    mpp: float | None = None,
    tile: int = 512,
    slide_mpp: float | None = None,
    min_tissue: float = 0.5,
    thin: float = 0.1,
    most: int | None = None,
    white: int = WHITE,
    black: int = BLACK,
    backend: str = "openslide",
    seed: int = 0,
    val_fraction: float = 0.2,
    test_fraction: float = 0.2,
) -> None:
    """Make a pool of regions of whole slides, without copying pixels.

    Args:
        slides: folder of slides; folders below it are searched too.
        labels: CSV with columns slide,label[,patient_id][,split].
        out: folder to write the regions and data.csv to, the data set of a run.
        masks: folder of masks named as their slides: tiled TIFF, or outlines (GeoJSON) in pixels of level 0.
        mpp: micrometres per pixel of a region; pixels of level 0 unless given.
        tile: sides of a region, in such pixels.
        slide_mpp: micrometres per pixel of level 0, in place of what the slides say.
        min_tissue: least share of tissue in a region.
        thin: least distance of colours (Hellinger's) between two regions of a slide, 0 to 1; 0 keeps all.
        most: regions of a slide at most, those that are farthest from each other.
        white: least value of the darkest channel of an empty pixel.
        black: greatest value of the brightest channel of an empty pixel.
        backend: openslide or tifffile.
        seed: of the split, where the labels name none.
        val_fraction: of the regions of each class left without test, whole patients (or slides).
        test_fraction: of the regions of each class, whole patients (or slides).
    """
    rule = TileRule(tile, mpp, slide_mpp, min_tissue, thin, most, white, black)
    paths = (str(slides), str(labels), str(out), rule, None if masks is None else str(masks))
    _write(slide_items(*paths, backend, seed, val_fraction, test_fraction), Path(str(out), "data.csv"), ("slide",))


def top(table: str, predictions: str, out: str, positive: str, share: float = 0.5) -> None:
    """Leave regions of positive slides out of the training that look least positive to a model.

    Args:
        table: data.csv of a pool of slides.
        predictions: predictions.csv of it, by a model of its run.
        out: CSV to write, in the folder of the pool; read it with data#table.
        positive: class whose slides may have regions of another class, or several with commas between them.
        share: of the regions of such a slide that are kept, above 0, up to 1.
    """
    classes = [name.strip() for name in str(positive).split(",")]
    for slide, count in keep_top(Path(str(table)), Path(str(predictions)), Path(str(out)), classes, share).items():
        logger.info("%s: %d regions of slide %s left out", out, count, slide)


def folds(table: str, out: str, folds: int = 5, seed: int = 0, val_fraction: float = 0.2) -> None:
    """Add splits of whole patients to a table: a column disjoint_fold0, disjoint_fold1, ... for each fold.

    Args:
        table: CSV with columns image,label,patient_id.
        out: CSV to write, in the folder of the data set; read it with data#table and data#split_column.
        folds: each is the test set once.
        seed: of folds and validation patients.
        val_fraction: of the images of each class that are not tested on.
    """
    for fold, counts in enumerate(add_folds(Path(str(table)), Path(str(out)), folds, seed, val_fraction)):
        sizes = ", ".join(f"{counts.get(name, 0)} {name}" for name in SPLITS)
        logger.info("%s, %s%d: %s", out, PREFIX, fold, sizes)


def _write(made: Made, path: Path, further: Sequence[str] = ()) -> None:
    items, classes = made
    write_table(items, path, classes, further)
    counts = Counter(item["split"] for item in items)
    sizes = ", ".join(f"{counts[name]} {name}" for name in SPLITS)
    without = sum(item["mask"] is None for item in items)
    logger.info("%s: %d images, %d classes, %s, %d without mask", path, len(items), len(classes), sizes, without)
    folders = {Path(item["image"]).parent for item in items}
    if not all(folder.is_relative_to(path.absolute().parent) for folder in folders):
        logger.info("its paths are absolute: read it with dataset_dir set to the folder of the images")
