"""The command ``python -m scripts.release package``: the bundle as one zip file that needs nothing of the repository.

In the repository ``bundle/`` holds configs, and links to scripts, models, docs and the licence. The package holds files
only, in the layout of MONAI's bundles, below one folder of the bundle's name. The same content gives the same bytes.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import safetensors.torch

from scripts.core.errors import InputError, Problem
from scripts.core.files import write_atomic
from scripts.networks.model_file import KEY, ModelInfo
from scripts.networks.weights import unpack_weights
from scripts.release.package_checks import DESCRIPTION, LARGE_FILES, METADATA, MODEL, listed_as_large, problems_of

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("configs", "docs", "label_app", "scripts")
FILES = ("LICENSE", LARGE_FILES, MODEL, DESCRIPTION)
REQUIREMENTS = "requirements*.txt"
DEVELOPMENT = "requirements-dev.txt"
LEFT_OUT = (".*", "*.py[cod]", "*~", "__pycache__", "datastore_v2.json")
LEFT_OUT_FOLDERS = {"label_app": ("bin", "logs", "model")}
"""What a server of MONAI Label makes inside its app."""
EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The first date that a zip file can hold."""


def package(out: str = "dist", root: str | None = None) -> Path:
    """Check the bundle, write ``<out>/<name>_v<version>.zip`` and return its path.

    Args:
        out: folder; made if absent.
        root: repository, or an unpacked package; the one of this file unless given.

    Raises:
        InputError: with everything that is missing or does not fit; nothing is written.
        StateError: the file cannot be written.
    """
    content = contents(Path(root) if root else ROOT)
    problems = problems_of(content)
    if problems:
        raise InputError(problems)
    content[str(Path(MODEL).with_suffix(".safetensors"))] = _as_safetensors(content)
    metadata = json.loads(content[METADATA])
    name = folder_name(metadata["name"])
    path = Path(out) / f"{name}_v{metadata['version']}.zip"
    data = zipped(content, name)
    write_atomic(path, data)
    logger.info("%s: %d files, %.1f MB", path, len(content), len(data) / 1e6)
    return path


def contents(root: Path) -> dict[str, bytes]:
    """Return the files of the package by their path in it, ``/`` between the parts.

    A file that is listed in ``large_files.yml`` is left out.

    Args:
        root: repository, or an unpacked package.

    Raises:
        InputError: a link leads out of ``root``.
    """
    bundle = root / "bundle" if (root / "bundle" / METADATA).is_file() else root
    paths = {name: bundle / name for name in FILES if (bundle / name).is_file()}
    paths |= {path.name: path for path in root.glob(REQUIREMENTS) if path.name != DEVELOPMENT}
    for folder in FOLDERS:
        paths |= {path.relative_to(bundle).as_posix(): path for path in _files(bundle / folder)}
    outside = [name for name, path in paths.items() if not path.resolve().is_relative_to(root.resolve())]
    if outside:
        raise InputError([Problem("link leads out of the bundle", name, f"a file in {root}") for name in outside])
    found = {name: path.read_bytes() for name, path in sorted(paths.items())}
    for name in listed_as_large(found):
        found.pop(name, None)
    return found


def folder_name(name: str) -> str:
    """Return the folder of a bundle from the name that is shown: ``"Two words-1"`` -> ``"two_words_1"``."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def zipped(content: dict[str, bytes], folder: str) -> bytes:
    """Return a zip file of ``content`` below ``folder``; its bytes depend on nothing else.

    Nothing is compressed: weights hardly shrink, and compressed bytes differ between versions of zlib.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(content.items()):
            entry = zipfile.ZipInfo(f"{folder}/{name}", EARLIEST)
            entry.create_system = 3  # Unix, wherever it is made
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return buffer.getvalue()


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files below ``folder`` that are shipped; the folder itself may be a link, or absent."""
    left_out = (*LEFT_OUT, *LEFT_OUT_FOLDERS.get(folder.name, ()))
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not _is_match(name, left_out)]
        yield from (Path(parent) / name for name in names if not _is_match(name, LEFT_OUT))


def _is_match(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _as_safetensors(content: dict[str, bytes]) -> bytes:
    """Return the released model in the form that holds its description too."""
    weights = unpack_weights(content[MODEL])
    info = ModelInfo.from_json(content[DESCRIPTION].decode(), DESCRIPTION)
    return safetensors.torch.save({name: value.contiguous() for name, value in weights.items()}, {KEY: info.to_json()})
