"""The file of theta0: the weights that every training of a run starts from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from scripts.core.errors import Problem, StateError
from scripts.networks.weights import Weights, unpack_weights
from scripts.training.stage0 import logger


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


def _stored(record: Path) -> Theta0:
    cure = f"Remove {record} to train it again."
    try:
        found = json.loads(record.read_bytes())
        sha256, accuracy, seconds = str(found["sha256"]), float(found["accuracy"]), float(found["seconds"])
        content = record.with_suffix(".pt").read_bytes()
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StateError(Problem("theta0 cannot be read", str(record), found=repr(error), cure=cure)) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise StateError(
            Problem("theta0 is damaged", str(record.with_suffix(".pt")), f"SHA-256 {sha256}", "another", cure)
        )
    logger.info("stage 0: theta0 of %s, validation accuracy %.4f", record.with_suffix(".pt"), accuracy)
    return Theta0(unpack_weights(content), sha256, accuracy, seconds)


def _theta0(folder: Path, sha256: str) -> Weights:
    """Return the weights of stage 0 whose file has the hash; the runs of a folder share few of them."""
    for record in sorted(folder.glob("*.json")):
        try:
            if json.loads(record.read_bytes()).get("sha256") == sha256:
                content = record.with_suffix(".pt").read_bytes()
                break
        except (OSError, ValueError, AttributeError) as error:
            raise StateError(Problem("stage 0 cannot be read", str(record), found=str(error))) from error
    else:
        cure = "Bring back the folder stage0 from a backup: the weights of the rounds are stored as what differs."
        raise StateError(Problem("stage 0 of the run is missing", str(folder), f"SHA-256 {sha256}", cure=cure))
    return unpack_weights(_checked(content, sha256, record.with_suffix(".pt")), where=str(folder))


def _checked(content: bytes, sha256: str, path: Path) -> bytes:
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise StateError(Problem("theta0 is damaged", str(path), f"SHA-256 {sha256}", found))
    return content
