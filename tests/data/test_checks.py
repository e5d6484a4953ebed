from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from scripts.data.checks import check_items
from scripts.images.masks import MaskRule


def item(tmp_path: Path, key: str, size=(6, 4), mask_size: tuple[int, int] | None = (6, 4)) -> dict:
    Image.new("RGB", size, "pink").save(tmp_path / f"{key}.png")
    if mask_size:
        Image.new("L", mask_size, 3).save(tmp_path / f"{key}_mask.png")
    mask = str(tmp_path / f"{key}_mask.png") if mask_size else None
    return {"id": key, "image": str(tmp_path / f"{key}.png"), "mask": mask}


def test_every_fault_is_told_and_good_items_are_handed_on(tmp_path: Path) -> None:
    items = [
        item(tmp_path, "good"),
        item(tmp_path, "without_mask", mask_size=None),
        item(tmp_path, "turned", mask_size=(4, 6)),
        item(tmp_path, "both"),
        item(tmp_path, "gone"),
    ]
    (tmp_path / "both.png").write_bytes(b"")
    (tmp_path / "both_mask.png").write_bytes(b"junk")
    (tmp_path / "gone_mask.png").unlink()
    seen: dict[str, tuple] = {}
    problems = check_items(items, MaskRule(), False, lambda item, image, mask: seen.update({item["id"]: (image, mask)}))
    assert {key: [problem.what for problem in found] for key, found in problems.items()} == {
        "turned": ["mask has another size than its image"],
        "both": ["file is empty", "the content is no image that can be read"],
        "gone": ["file is missing"],
    }
    assert "6 x 4" in problems["turned"][0].expected
    assert "4 x 6" in problems["turned"][0].found
    assert list(seen) == ["good", "without_mask"]
    image, mask = seen["good"]
    assert image.shape == (4, 6, 3)
    assert np.array_equal(mask, np.ones((4, 6), np.uint8))
    assert seen["without_mask"][1] is None
