"""MONAI Label's own ``monaibundle`` app, unchanged, on the bundle: mask and class of an image, and a training."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from scripts.data.demo.data_set import make_demo
from scripts.prediction.transforms import mask_of
from scripts.trained.source import load_model
from tests.support.label_server import ROOT, Person, Server, as_mask, as_png, require_monailabel

require_monailabel()
pytestmark = pytest.mark.label

NAME = "weak_annotator_segmentation"
# torchvision, which that app imports, has no build for torch without CUDA; declared so, it loads (nms does not work).
SHIM = """
import torch
for name in ("nms", "qnms"):
    torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path, Path]]:
    """The server, its images, and its copy of the bundle, whose trainings are shorter."""
    base = tmp_path_factory.mktemp("stock")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    monailabel = str(Path(sys.executable).with_name("monailabel"))
    get = [monailabel, "apps", "--download", "--name", "monaibundle", "--output", str(base)]
    subprocess.run(get, check=True, capture_output=True, env={**os.environ, "PATH": path})
    app = base / "monaibundle"
    bundle = app / "model" / NAME
    shutil.copytree(ROOT / "bundle", bundle, ignore=shutil.ignore_patterns("label_app", "__pycache__", "runs", "eval"))
    config = json.loads((bundle / "configs" / "train.json").read_text())
    config["demo"] |= {"n_train": 4, "n_val": 2, "n_test": 2}
    (bundle / "configs" / "train.json").write_text(json.dumps({**config, "epoch_length": 2, "batch_size": 2}))
    make_demo(str(base / "demo"), n_train=4, n_val=2, n_test=2)
    studies = base / "studies"
    studies.mkdir()
    for image in sorted((base / "demo").rglob("train_*.png"))[:2]:
        shutil.copy(image, studies)
    (base / "shim").mkdir()
    (base / "shim" / "sitecustomize.py").write_text(SHIM)
    conf = {"models": NAME, "zoo_source": "local", "sam2": "false"}
    server = Server(studies, base / "runs", conf=conf, words=["--host", "127.0.0.1"], app=app)
    server.env["PYTHONPATH"] = str(base / "shim")
    try:
        yield server.start(), studies, bundle
    finally:
        server.close()


def test_mask_and_class(stock: tuple[Server, Path, Path]) -> None:
    server, studies, bundle = stock
    person = Person(server)
    url = f"{server.url}/infer/{NAME}"
    for path in studies.glob("*.png"):
        answer = person.http.post(url, params={"image": path.stem, "output": "image"})
        assert answer.status_code == 200, answer.text
        told = person.http.post(url, params={"image": path.stem, "output": "json"}).json()
        expected, name = predicted(bundle / "models" / "model.pt", path)
        mask = as_mask(answer.content)
        np.testing.assert_array_equal(mask, expected)
        assert told["classification"]["class"] == name


def predicted(ckpt: Path, path: Path) -> tuple[np.ndarray, str]:
    """Mask and class by ``scripts`` alone."""
    from scripts.networks.inferer import JointInferer
    from scripts.networks.outputs import prediction

    model = load_model(".", ckpt=ckpt)
    with Image.open(path) as picture:
        image = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)[None].float() / 255.0
    with torch.no_grad():
        packed = JointInferer(flips=True)(image, model.network)
    size = (image.shape[2], image.shape[3])
    found = prediction("x", packed, model.network, size)  # type: ignore[arg-type]
    return mask_of(found, model.info), model.info.classes[int(found.scores.argmax())]


def test_training_writes_a_model_that_answers(stock: tuple[Server, Path, Path]) -> None:
    server, studies, bundle = stock
    person = Person(server)
    for path in studies.glob("*.png"):
        with Image.open(path) as picture:
            dark = np.asarray(picture.convert("L")) < 150
        assert person.send(path.stem, as_png(dark.astype(np.uint8))).status_code == 200
    before = (bundle / "models" / "model.pt").read_bytes()
    request: dict[str, Any] = {"max_epochs": 2, "val_split": -1, "multi_gpu": False}
    answer = person.http.post(f"{server.url}/train/{NAME}", json=request)
    assert answer.status_code == 200, answer.text
    person.finished("/train/")
    assert (bundle / "models" / "model.pt").read_bytes() != before
    url = f"{server.url}/infer/{NAME}"
    key = next(studies.glob("*.png")).stem
    told = person.http.post(url, params={"image": key, "output": "json"})
    assert told.status_code == 200, told.text
    assert set(told.json()["classification"]["probabilities"]) == {"benign", "malignant"}
