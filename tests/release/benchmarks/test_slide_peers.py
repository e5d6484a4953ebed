from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scripts.release.benchmarks import slide_peers
from tests.support.slides import model, tissue, write_tiff


def test_all_patches_of_a_grid_are_predicted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []

    class Inferer(slide_peers.JointInferer):
        def __call__(self, inputs, network, keys=None):  # type: ignore[no-untyped-def]
            seen.append(inputs.numpy())
            return super().__call__(inputs, network, keys)

    monkeypatch.setattr(slide_peers, "JointInferer", Inferer)
    monkeypatch.setattr(slide_peers, "load_model", lambda *_, **__: model())
    image = tissue(400, 300)
    found = slide_peers.monai_patches(write_tiff(tmp_path / "a.tif", image), "m", 64, 32)
    assert found["megapixels"] == pytest.approx(5 * 3 * 64 * 64 / 1e6) and found["seconds"] > 0  # whole patches only
    expected = [image[y : y + 128, x : x + 128] for y in range(0, 273, 64) for x in range(0, 173, 64)]
    for patch, part in zip(seen, expected, strict=True):
        np.testing.assert_allclose(patch[0].transpose(1, 2, 0) * 255, part, atol=1e-3)
