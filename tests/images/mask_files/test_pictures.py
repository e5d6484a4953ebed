from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from scripts.data.checks import check_items
from scripts.images.mask_files.pictures import may_be_picture, picture_problem
from scripts.images.masks import MaskRule


def photograph(seed: int = 0) -> np.ndarray:
    """Pale, with dark discs and noise."""
    rng = np.random.default_rng(seed)
    return np.clip(np.where(discs()[..., None], 90, 225) + rng.normal(0, 8, (64, 80, 3)), 0, 255).astype(np.uint8)


def discs() -> np.ndarray:
    y, x = np.mgrid[:64, :80]
    return ((y - 20) ** 2 + (x - 20) ** 2 < 150) | ((y - 44) ** 2 + (x - 60) ** 2 < 200)


def painted() -> np.ndarray:
    return np.where(discs()[..., None], np.array([0, 255, 0]), photograph()).astype(np.uint8)


def veiled() -> np.ndarray:
    mixed = photograph() * 0.5 + np.array([255, 0, 0]) * 0.5
    return np.where(discs()[..., None], mixed, photograph()).astype(np.uint8)


def grey() -> np.ndarray:
    return np.asarray(Image.fromarray(photograph()).convert("L"))


def saved(folder: Path, values: np.ndarray, name: str = "m.png") -> Path:
    Image.fromarray(values).save(folder / name)
    return folder / name


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (photograph(), "mask is the image itself"),
        (grey(), "mask is the image itself"),
        (painted(), "mask is its image with something painted on it"),
        (veiled(), "mask is its image with something painted on it"),
        (np.kron(photograph(1), np.ones((4, 4, 1), np.uint8)), "mask looks like a photograph"),
    ],
)
def test_pictures_are_named_for_what_they_are(tmp_path: Path, values: np.ndarray, what: str) -> None:
    problem = picture_problem(saved(tmp_path, values), photograph())
    assert problem is not None and problem.what == what


def test_another_image_is_not_taken_for_this_one(tmp_path: Path) -> None:
    large = [np.kron(photograph(seed), np.ones((4, 4, 1), np.uint8)) for seed in (0, 1)]
    problem = picture_problem(saved(tmp_path, large[1]), large[0])
    assert problem is not None and problem.what == "mask looks like a photograph"


def masks() -> dict[str, np.ndarray]:
    binary = (discs() * 255).astype(np.uint8)
    soft = np.asarray(Image.fromarray(binary).filter(ImageFilter.GaussianBlur(3)))
    numbered = discs().astype(np.uint8) * np.linspace(1, 200, 80).astype(np.uint8)[None]
    colours = np.stack([binary, binary // 2, numbered], axis=2)
    return {"binary": binary, "inverted": 255 - binary, "soft": soft, "numbered": numbered, "colours": colours,
            "empty": 0 * binary, "full": 0 * binary + 255,
            "grey ground": np.where(discs(), 255, 128).astype(np.uint8)}  # fmt: skip


def test_flat_grey_on_flat_grey_may_be_a_mask(tmp_path: Path) -> None:
    image = np.full((64, 80, 3), 120, np.uint8)
    assert picture_problem(saved(tmp_path, image + np.uint8(1)), image) is None


@pytest.mark.parametrize("name", masks())
def test_masks_are_none(tmp_path: Path, name: str) -> None:
    assert picture_problem(saved(tmp_path, masks()[name]), photograph()) is None


def test_what_cannot_be_decoded_is_told_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "m.png").write_bytes(b"x")
    assert picture_problem(tmp_path / "m.png", photograph()) is None


def test_packed_masks_are_not_looked_at(tmp_path: Path) -> None:
    large = np.kron(discs(), np.ones((8, 8))) > 0
    path = saved(tmp_path, (large * 255).astype(np.uint8))
    assert not may_be_picture(path, large.shape)
    assert may_be_picture(saved(tmp_path, photograph()), (64, 80))


@pytest.mark.parametrize("rule", [MaskRule(), MaskRule("over:127.5"), MaskRule([255])])
def test_the_check_says_so_under_every_rule(tmp_path: Path, rule: MaskRule) -> None:
    image = saved(tmp_path, photograph(), "i.png")
    found = check_items([{"id": "a", "image": str(image), "mask": str(image)}], rule, progress=False)
    assert [problem.what for problem in found["a"]] == ["mask is the image itself"]
    mask = saved(tmp_path, masks()["binary"])
    assert check_items([{"id": "a", "image": str(image), "mask": str(mask)}], rule, progress=False) == {}
