"""MONAI's own way through a slide, for comparison: patches of a grid from its data set, joined after the network.

``python -m scripts.release.benchmarks.slide_peers SLIDE MODEL SIDE MARGIN`` tells the seconds as JSON. It gives logits
in memory and nothing else: no mask of full size, no polygons, no pyramid, no glass left out.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from monai.data import DataLoader, SlidingPatchWSIDataset

from scripts.networks.inferer import JointInferer
from scripts.trained.source import load_model


def monai_patches(slide: Path, model: str, side: int, margin: int) -> dict[str, float]:
    """Read and predict all patches of a slide and put their logits into one array; return how long that takes.

    The data set leaves out what is narrower than a patch at the right and the lower border.

    Args:
        slide: that OpenSlide opens.
        model: folder of a run, or a model file; one network pixel is one slide pixel.
        side: pixels that are kept of a patch.
        margin: pixels on each side that the network sees besides.

    Returns:
        ``seconds``, and ``megapixels`` of what is kept.
    """
    trained = load_model(model, ckpt=model if Path(model).is_file() else None)
    inferer, started, window = JointInferer(), time.perf_counter(), side + 2 * margin
    patches = SlidingPatchWSIDataset(
        [{"image": str(slide)}], patch_size=window, patch_level=0, overlap=2 * margin / window, reader="openslide"
    )
    found = np.zeros(patches.wsi_reader.get_size(patches.wsi_reader.read(str(slide)), 0), np.float32)
    for batch in DataLoader(patches, batch_size=1, num_workers=1):
        top, left = (int(n) + margin for n in batch["image"].meta["location"][0])
        with torch.inference_mode():
            packed = inferer(batch["image"].as_tensor().float() / 255.0, trained.network)
        inner = packed[0, 0, margin : margin + side, margin : margin + side]
        found[top : top + side, left : left + side] = inner.numpy()
    return {"seconds": time.perf_counter() - started, "megapixels": len(patches) * side * side / 1e6}


if __name__ == "__main__":
    path, name, kept, around = sys.argv[1:]
    sys.stdout.write(json.dumps(monai_patches(Path(path), name, int(kept), int(around))) + "\n")
