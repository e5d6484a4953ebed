"""Batched augmentation against MONAI's transforms of single images, and what an image may depend on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from monai.transforms import Affine, Flip
from monai.transforms.utils import create_rotate, create_scale, create_translate

from scripts.core.errors import InputError
from scripts.training.device.augmentation import Augmentation

SIZE = (48, 72)
STILL = {"affine_prob": 0.0, "gain_prob": 0.0, "offset_prob": 0.0}


def pixels(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random images and masks with 0, 1, 255."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 3, *SIZE, generator=generator)
    classes = torch.randint(0, 3, (count, 1, *SIZE), generator=generator)
    return images, torch.tensor([0, 1, 255], dtype=torch.uint8)[classes]


def augmented(
    augmentation: Augmentation, images: torch.Tensor, masks: torch.Tensor, seeds: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = augmentation.draws(seeds)
    grid = drawn.grid(SIZE, "cpu")
    return drawn.images(images.clone(), grid), drawn.masks(masks, grid)


def homogeneous(matrix: torch.Tensor) -> torch.Tensor:
    return torch.cat([matrix, torch.tensor([[0.0, 0.0, 1.0]])])


class TestAgainstMonai:
    @pytest.mark.parametrize("seed", range(6))
    def test_pixels_are_those_of_an_affine_transform_with_the_same_matrix(self, seed: int) -> None:
        images, masks = pixels(1)
        augmentation = Augmentation(gain_prob=0.0, offset_prob=0.0)
        found, found_mask = augmented(augmentation, images, masks, [seed])
        affine = homogeneous(augmentation.draws([seed]).matrices[0])
        settings = {"affine": affine, "padding_mode": "reflection", "image_only": True}
        expected = Affine(mode="bilinear", **settings)(images[0])
        torch.testing.assert_close(found[0], torch.as_tensor(expected), rtol=0, atol=2e-4)
        expected_mask = torch.as_tensor(Affine(mode="nearest", **settings)(masks[0].float()))
        assert (found_mask[0] == expected_mask).float().mean() > 0.998  # places halfway between two pixels round apart

    def test_matrices_are_flips_after_rotation_after_translation_after_scaling(self) -> None:
        augmentation = Augmentation(flip_prob=0.5, affine_prob=1.0, rotation=90.0, stretch=0.2, translation=7.0)
        for seed in range(8):
            chance = np.random.default_rng(seed).random(14)
            signed = 2 * chance - 1
            affine = (
                np.diag([-1.0 if chance[0] < 0.5 else 1.0, -1.0 if chance[1] < 0.5 else 1.0, 1.0])
                @ create_rotate(2, math.pi / 2 * signed[3])
                @ create_translate(2, 7.0 * signed[4:6])
                @ create_scale(2, 1 + 0.2 * signed[6:8])
            )
            found = augmentation.draws([seed]).matrices[0]
            torch.testing.assert_close(found.double(), torch.from_numpy(affine[:2]), rtol=1e-6, atol=1e-6)

    def test_flips_alone_are_flips(self) -> None:
        images, masks = pixels(1)
        seen = set()
        for seed in range(20):
            rows, columns = np.random.default_rng(seed).random(14)[:2] < 0.5
            axes = [axis for axis, flipped in enumerate((rows, columns)) if flipped]
            found, found_mask = augmented(Augmentation(**STILL), images, masks, [seed])
            flip = Flip(spatial_axis=axes) if axes else lambda x: x
            torch.testing.assert_close(found[0], torch.as_tensor(flip(images[0])), rtol=0, atol=1e-4)
            assert torch.equal(found_mask[0], torch.as_tensor(flip(masks[0])))
            seen.add(tuple(axes))
        assert len(seen) == 4


class TestDraws:
    def test_a_result_depends_on_its_own_seed_alone_to_the_bit(self) -> None:
        images, masks = pixels(5)
        seeds = [7, 1, 123456, 2**32 - 1, 3]
        whole, whole_masks = augmented(Augmentation(), images, masks, seeds)
        for at, seed in enumerate(seeds):
            one, one_mask = augmented(Augmentation(), images[at : at + 1], masks[at : at + 1], [seed])
            assert torch.equal(one[0], whole[at])
            assert torch.equal(one_mask[0], whole_masks[at])
        backwards, _ = augmented(Augmentation(), images.flip(0), masks.flip(0), seeds[::-1])
        assert torch.equal(backwards.flip(0), whole)
        assert not torch.equal(whole[0], augmented(Augmentation(), images[:1], masks[:1], [8])[0][0])

    def test_masks_do_not_depend_on_whether_images_are_drawn_too(self) -> None:
        images, masks = pixels(3)
        drawn = Augmentation().draws([1, 2, 3])
        grid = drawn.grid(SIZE, "cpu")
        assert torch.equal(drawn.masks(masks, grid), augmented(Augmentation(), images, masks, [1, 2, 3])[1])

    def test_some_of_the_draws(self) -> None:
        drawn = Augmentation().draws([1, 2, 3])
        some, expected = drawn[[2, 0]], Augmentation().draws([3, 1])
        assert torch.equal(some.matrices, expected.matrices)
        assert torch.equal(some.gains, expected.gains)
        assert torch.equal(some.offsets, expected.offsets)

    def test_intensities_are_scaled_by_channel_shifted_and_cut_off(self) -> None:
        images, masks = pixels(12)
        augmentation = Augmentation(flip_prob=0.0, affine_prob=0.0, gain_prob=1.0, offset_prob=1.0)
        found, found_masks = augmented(augmentation, images, masks, range(12))
        drawn = augmentation.draws(range(12))
        expected = images * drawn.gains[:, :, None, None] + drawn.offsets[:, None, None, None]
        assert expected.max() > 1 and expected.min() < 0
        torch.testing.assert_close(found, expected.clamp(0, 1), rtol=0, atol=1e-4)
        assert torch.equal(found_masks, masks)

    def test_distributions(self) -> None:
        drawn = Augmentation().draws(range(4000))
        turned = drawn.matrices[:, :, :2]
        moved = (turned - turned.sign() * torch.eye(2)).abs().amax((1, 2)) > 1e-6
        assert moved.float().mean() == pytest.approx(0.9, abs=0.02)
        still = turned[~moved].diagonal(dim1=1, dim2=2)
        assert (still < 0).float().mean(0).tolist() == pytest.approx([0.5, 0.5], abs=0.08)
        lengths = turned.norm(dim=1)  # R and F keep lengths, so columns have those of S
        assert lengths.min() > 0.75 - 1e-5 and lengths.max() < 1.25 + 1e-5 and lengths[moved].std() > 0.13
        assert drawn.matrices[:, :, 2].norm(dim=1).max() <= 12 * math.sqrt(2)
        angles = torch.atan2(turned[:, 1, 0], turned[:, 0, 0])[moved]
        assert torch.histc(angles, 8, -math.pi, math.pi).div(len(angles)).tolist() == pytest.approx(
            [1 / 8] * 8, abs=0.03
        )
        assert (drawn.gains == 1).all(1).float().mean() == pytest.approx(0.2, abs=0.02)
        assert 0.85 <= drawn.gains.min() < 0.86 and 1.14 < drawn.gains.max() <= 1.15
        assert not torch.equal(drawn.gains[:, 0], drawn.gains[:, 1])
        assert (drawn.offsets == 0).float().mean() == pytest.approx(0.2, abs=0.02)
        assert -0.1 <= drawn.offsets.min() < -0.099 and 0.099 < drawn.offsets.max() <= 0.1


def test_a_value_out_of_range_is_named() -> None:
    with pytest.raises(InputError) as error:
        Augmentation(flip_prob=1.5, stretch=-0.1, rotation=float("nan"))
    for name in ("flip_prob", "stretch", "rotation"):
        assert f"augmentation#{name}" in str(error.value)
