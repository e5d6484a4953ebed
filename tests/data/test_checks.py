from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.core.errors import InputError
from scripts.data.checks import MaskShape, check_items, refuse_hopeless_masks
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


def test_outlines_of_all_images_in_one_file(tmp_path: Path) -> None:
    items = [{**item(tmp_path, key), "mask": str(tmp_path / "all.json")} for key in ("a", "b", "c")]
    content = {
        "images": [{"id": n, "file_name": f"{key}.png", "width": 6, "height": 4} for n, key in enumerate("ab")],
        "annotations": [{"image_id": n, "category_id": 1, "segmentation": [[n, 0, n + 2, 0, n + 2, 2, n, 2]]}
                        for n in range(2)],
        "categories": [{"id": 1, "name": "gland"}],
    }  # fmt: skip
    (tmp_path / "all.json").write_text(json.dumps(content))
    (tmp_path / "b.png").write_bytes(b"")
    seen = {}
    problems = check_items(
        items, MaskRule("over:127.5"), False, lambda item, image, mask: seen.update({item["id"]: mask})
    )
    assert seen["a"][:2, :2].tolist() == [[1, 1], [1, 1]] and seen["a"].sum() == 4
    assert {key: [problem.what for problem in found] for key, found in problems.items()} == {
        "b": ["file is empty"], "c": ["no image of the file is the picture"],
    }  # fmt: skip


def test_outlines_that_hide_nothing_or_all(tmp_path: Path) -> None:
    whole = {"type": "Feature", "properties": {}, "geometry": {
        "type": "Polygon", "coordinates": [[[0, 0], [6, 0], [6, 4], [0, 4], [0, 0]]]}}  # fmt: skip
    (tmp_path / "a.geojson").write_text(json.dumps(whole))
    shapes = {"a": MaskShape(True, False, 1.0)}
    with pytest.raises(InputError, match=r"no mask has background.*found outlines.*not the whole picture"):
        refuse_hopeless_masks({"a": str(tmp_path / "a.geojson")}, shapes, MaskRule())
