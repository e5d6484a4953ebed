"""A run whose round 0 waits for masks, with its images and a model: what the tests of the server share."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scripts.networks.model_file import ModelInfo, write_model
from tests.support.label_server import Server
from tests.support.people import asking_run
from tests.support.tiny import tiny_net
from tests.support.tiny_runs import make_images, open_tiny

ASKED = tuple(f"train_{i:02d}" for i in range(16))
UNASKED = "train_23"


@dataclass
class Served:
    """The server of this module and what it serves."""

    server: Server
    studies: Path
    run: Path
    data: Any
    ckpt: Path
    config: Sequence[str] = ()


def make_studies(folder: Path) -> Path:
    """24 training images, some in BMP and TIFF, and things that are no images of the run."""
    make_images(folder, {"train": 24, "val": 4, "test": 4})
    lines = list(csv.reader((folder / "data.csv").open()))
    for line in lines[1:]:
        for name, suffix in (("train_00", "bmp"), ("train_01", "tif")):
            if line[0] == f"{name}.png":
                with Image.open(folder / line[0]) as picture:
                    picture.save(folder / f"{name}.{suffix}")
                (folder / line[0]).unlink()
                line[0] = f"{name}.{suffix}"
    with (folder / "data.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    (folder / "datastore_v2.json").write_text('{"name": "half a fi')
    (folder / "._train_02.png").write_bytes(b"left by a Mac")
    (folder / "secret.png").write_bytes((folder / "train_02.png").read_bytes())
    os.symlink("/etc/hostname", folder / "link.png")
    return folder


def make_served(base: Path, config: Sequence[str] = (), begun: bool = True) -> Served:
    """Data, run and model in a folder, and their server with overlays, which is not started.

    With ``begun`` the run asks for images and can only be drawn for: it has no settings to train with.
    """
    studies = make_studies(base / "studies")
    data = open_tiny(studies)
    run = base / "runs" / "label_prop_seed0"
    if begun:
        asking_run(run, data, ASKED, reserves=[("train_17", None), ("train_16", None)])
    net = tiny_net(2)
    arguments = {"_target_": "scripts.networks.joint_net.JointNet", "num_classes": 2, "decoder_channels": [8] * 5}
    info = ModelInfo({**arguments, "pretrained": False}, ("a", "b"), (64, 64), 0.5)
    write_model(base / "model.pt", dict(net.state_dict()), info)
    (base / "tmp").mkdir()
    server = Server(studies, base / "runs", config, conf={"ckpt": base / "model.pt", "device": "cpu"})
    server.env["TMPDIR"] = str(base / "tmp")
    return Served(server, studies, run, data, base / "model.pt", config)


def true_mask(served: Served, key: str) -> np.ndarray:
    """The mask of an image that lies on disk."""
    found = served.data.store.true_mask(key)
    assert found is not None
    return found


def tree(*folders: Path) -> dict[str, int]:
    """Every file below some folders with its size, but for the state, which remembers refusals, and the log."""
    return {
        str(path): path.stat().st_size for folder in folders for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(("state.sqlite", "server.log"))
    }  # fmt: skip
