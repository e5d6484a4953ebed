"""The file of theta0: the weights that every training of a run starts from, written and read here alone.

A folder holds one ``<key>.pt`` with the weights per settings of stage 0, and ``<key>.json`` with their hash beside it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.core.errors import Problem, StateError
from scripts.core.files import write_atomic
from scripts.networks.weights import Weights, pack_weights, unpack_weights


@dataclass(frozen=True)
class Theta0:
    """The starting point of every training.

    Attributes:
        weights: full state dict of the network, the decoder's initial weights included.
        sha256: of the stored file.
        accuracy: class accuracy on the validation images, in [0, 1].
        seconds: time it took to train, also when it was read from disk.
    """

    weights: Weights
    sha256: str
    accuracy: float
    seconds: float


def write_theta0(
    folder: Path, key: str, weights: Weights, accuracy: float, seconds: float, about: Mapping[str, Any]
) -> Theta0:
    """Write theta0 into ``folder`` and return it.

    Args:
        folder: made when missing.
        key: of the settings it was trained with.
        weights: full state dict.
        accuracy: on the validation images, in [0, 1].
        seconds: time it took to train.
        about: what else is kept of it, JSON values.

    Raises:
        StateError: a file cannot be written.
    """
    content = pack_weights(weights)
    sha256 = hashlib.sha256(content).hexdigest()
    record = folder / f"{key}.json"
    write_atomic(record.with_suffix(".pt"), content)
    found = {"sha256": sha256, "accuracy": accuracy, "seconds": seconds, **about}
    write_atomic(record, json.dumps(found, indent=1).encode())
    return Theta0(weights, sha256, accuracy, seconds)


def read_theta0(folder: Path, key: str) -> Theta0 | None:
    """Return the theta0 that was trained with the settings of ``key``, None where there is none yet.

    Raises:
        StateError: it cannot be read, or was changed.
    """
    record = folder / f"{key}.json"
    if not record.is_file():
        return None
    cure = f"Remove {record} to train it again."
    try:
        found = json.loads(record.read_bytes())
        sha256, accuracy, seconds = str(found["sha256"]), float(found["accuracy"]), float(found["seconds"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StateError(Problem("theta0 cannot be read", str(record), found=repr(error), cure=cure)) from error
    return Theta0(_weights(record.with_suffix(".pt"), sha256, cure), sha256, accuracy, seconds)


def find_theta0(folder: Path, sha256: str) -> Weights:
    """Return the weights of the theta0 whose file has the hash; the runs of a folder share few of them.

    Raises:
        StateError: there is none, or it cannot be read, or was changed.
    """
    cure = "Bring back the folder stage0 from a backup: the weights of the rounds are stored as what differs."
    for record in sorted(folder.glob("*.json")):
        try:
            is_meant = json.loads(record.read_bytes()).get("sha256") == sha256
        except (OSError, ValueError, AttributeError) as error:
            raise StateError(Problem("stage 0 cannot be read", str(record), found=str(error), cure=cure)) from error
        if is_meant:
            return _weights(record.with_suffix(".pt"), sha256, cure)
    raise StateError(Problem("stage 0 of the run is missing", str(folder), f"SHA-256 {sha256}", cure=cure))


def _weights(path: Path, sha256: str, cure: str) -> Weights:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StateError(Problem("theta0 cannot be read", str(path), found=repr(error), cure=cure)) from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise StateError(Problem("theta0 is damaged", str(path), f"SHA-256 {sha256}", f"another ({found})", cure))
    return unpack_weights(content, where=str(path))
