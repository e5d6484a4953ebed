"""Names of phases, stages, metrics, artifacts and files of a run and its evaluation. Nowhere else are they spelt out.

Those that a run stores are part of its format (:data:`scripts.state.schema.VERSION`).
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

START = -1
"""Number of the round in which stage 0 is done, before round 0."""


class Phase(StrEnum):
    """A step of a round that is committed as a whole; :attr:`STAGE_0` belongs to round :data:`START`."""

    STAGE_0 = "stage0"
    QUERY = "query"
    ORACLE = "oracle"
    CYCLE_0 = "cycle0"
    PSEUDO_LABEL = "pseudo"
    CYCLE_1 = "cycle1"
    EVALUATE = "evaluate"
    REFRESH = "refresh"
    REPORT = "report"


class Stage(StrEnum):
    """When pseudo-masks were made: in mid-round by the model of cycle 0, or at the end by the round's best one."""

    CYCLE_0 = "cycle0"
    FINAL = "final"


class Metric(StrEnum):
    """What a round is measured by, in [0, 1] except counts; on the test images unless the name says otherwise."""

    DICE = "dice"
    MIOU = "miou"
    DICE_ALL = "dice_all"  # images without true foreground included, each with 0: where classes have none
    CLEAN_SHARE = "clean_share"  # of images without true foreground, those of which nothing is predicted
    FALSE_AREA = "false_area"  # of such an image, the share of pixels that is predicted
    DICE_AT_HALF = "dice_at_0.5"
    PXAP = "pxap"
    ACCURACY = "accuracy"
    WSL_DICE = "wsl_dice"
    THRESHOLD = "threshold"
    VAL_DICE = "val_dice"
    VAL_MIOU = "val_miou"
    VAL_CLEAN_SHARE = "val_clean_share"
    VAL_FALSE_AREA = "val_false_area"
    THRESHOLD_CYCLE_0 = "threshold_cycle0"
    PSEUDO_DICE = "pseudo_dice"
    PSEUDO_DICE_CYCLE_0 = "pseudo_dice_cycle0"
    PSEUDO_N = "pseudo_n"  # count of pseudo-masks
    PSEUDO_N_CYCLE_0 = "pseudo_n_cycle0"
    MASKS = "masks"  # count of images with an oracle mask
    PIXELS = "pixels"  # foreground pixels of those masks
    VAL_MASKS = "val_masks"  # count of validation masks, where they are counted
    VAL_PIXELS = "val_pixels"
    VAL_BOUNDARY = "val_boundary_px"
    VAL_SECONDS = "val_seconds"


class Measure(StrEnum):
    """What ``evaluate`` reports of a set of images: in [0, 1] but for the Hausdorff distance in pixels."""

    DICE = "dice"
    IOU = "iou"
    DICE_ALL = "dice_all"
    CLEAN_SHARE = "clean_share"
    FALSE_AREA = "false_area"
    HD95 = "hd95"
    OBJECT_DICE = "object_dice"
    OBJECT_F1 = "object_f1"
    OBJECT_DICE_PER_IMAGE = "object_dice_per_image"
    OBJECT_F1_PER_IMAGE = "object_f1_per_image"
    PXAP = "pxap"
    CAM_BEST_DICE = "cam_best_dice"
    PIXEL_ECE = "pixel_ece"
    ACCURACY = "accuracy"
    AUROC = "auroc"
    CLASS_ECE = "class_ece"


class RunFile(StrEnum):
    """Files and folders in the folder of a run."""

    STATE = "state.sqlite"
    JOURNAL = "journal.jsonl"
    BLOBS = "blobs"
    SET_ASIDE = "set_aside"
    LOCK = "lock"
    SERVER_LOG = "server.log"
    CHECKPOINT = "training.ckpt"
    CURVE_CSV = "curve.csv"
    CURVE_JSON = "curve.json"
    OVERLAYS = "overlays"
    TENSORBOARD = "tensorboard"
    TO_ANNOTATE = "to_annotate"


class OutputFile(StrEnum):
    """Files and folders beside the runs, in their output folder."""

    STAGE_0 = "stage0"
    REPORT = "report.html"
    LEARNING_CURVE = "learning_curve.png"


TEST_DICE = "test_dice"
"""Artifact of a round: JSON, id -> Dice of each test image."""

WINDOWS = "windows"
"""Artifact of a round that asks for parts of images: JSON, id -> [top, left, height, width] in pixels."""

SELECTION = "selection_cycle"
"""Metrics of this beginning and the number of a cycle: the metric on validation that chose the cycle's weights."""


def selection_metric(cycle: int) -> str:
    """Return the name of the metric that chose the weights of a cycle."""
    return f"{SELECTION}{cycle}"


def weights_artifact(cycle: int) -> str:
    """Return the name of the artifact that holds the weights of a cycle."""
    return f"weights_cycle{cycle}"


def round_name(index: int) -> str:
    """Return the name of a round's own folder: ``"round_03"``."""
    return f"round_{index:02d}"


def run_folder(output_dir: Path | str, method: str, seed: int) -> Path:
    """Return the folder of the run of a method and seed."""
    return Path(output_dir) / f"{method}_seed{seed}"


def is_run(folder: Path) -> bool:
    """Tell whether a folder holds a run."""
    return (folder / RunFile.STATE).is_file()


def last_phase(propagates: bool) -> Phase:
    """Return the phase that ends a round, of methods that propagate pseudo-masks and of others."""
    return Phase.REFRESH if propagates else Phase.EVALUATE
