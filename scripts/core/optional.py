"""Packages that only some commands need: imported when they are needed, with the command that installs them."""

from __future__ import annotations

import importlib
from typing import Any

from scripts.core.errors import InputError, Problem

REQUIREMENTS = {
    "tifffile": "requirements-slide.txt",
    "openslide": "requirements-slide.txt",
    "shapely": "requirements-slide.txt",
    "openvino": "requirements-openvino.txt",
    "mlflow": "requirements-tracking.txt",
    "sqlalchemy": "requirements-tracking.txt",
}
"""Module -> file of requirements it is in."""


def needed(name: str) -> Any:
    """Return the module ``name``.

    Raises:
        InputError: it is not installed, or does not load.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:  # OSError: a shared library of the package is missing
        cure = f"Install it: pip install -r {REQUIREMENTS[name]}"
        raise InputError(Problem("package is missing", name, found=str(error), cure=cure)) from error
