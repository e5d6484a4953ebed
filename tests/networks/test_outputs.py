"""What is read from the output of a network: probabilities, masks, packed maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scripts.evaluation.metrics import dice
from scripts.networks.outputs import (
    PLAIN,
    PlainGeometry,
    Prediction,
    cam_mask,
    drawn_class,
    pack_outputs,
    pseudo_mask,
    restore,
    restore_passes,
    unpack_outputs,
    upsample_maps,
)


def numpy_bilinear(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear resizing with half-pixel centres, one axis after the other."""
    for axis, target in enumerate(size):
        source = values.shape[axis]
        at = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, source - 1)
        weight = (at - low).reshape([-1, 1] if axis == 0 else [1, -1])
        values = np.take(values, low, axis) * (1 - weight) + np.take(values, high, axis) * weight
    return values


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(4, 1, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [(90, 70), (31, 64), (64, 64)])
def test_restored_probabilities_equal_plain_numpy(logits: torch.Tensor, size: tuple[int, int]):
    expected = 1 / (1 + np.exp(-numpy_bilinear(logits[0, 0].double().numpy(), size)))
    found = restore(logits[0, 0], size)
    assert found.dtype == torch.float32
    assert np.allclose(found.numpy(), expected, atol=1e-5)


def random_maps(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_cam_mask_equals_golden(golden):
    data = golden("wsl_mask")
    maps, size = torch.tensor(data["maps"]), tuple(data["size"])
    upsampled = torch.tensor(data["upsampled_bilinear_align_corners"])
    torch.testing.assert_close(upsample_maps(maps, size), upsampled, atol=1e-5, rtol=0)
    mask = cam_mask(maps, torch.tensor(data["labels"]), size)
    assert mask.dtype == torch.uint8
    assert torch.equal(mask, torch.tensor(data["mask"]).to(torch.uint8))


def test_cam_masks_of_all_classes_partition_the_image():
    maps = random_maps(1, 3, 4, 5)
    masks = [cam_mask(maps, torch.tensor([label]), (19, 23)) for label in range(3)]
    assert torch.equal(torch.stack(masks).sum(0), torch.ones(1, 1, 19, 23))


@pytest.mark.parametrize("size", [(32, 32), (33, 95), (374, 374), (128, 147), (478, 710), (1, 64)])
def test_packed_maps_come_back_exactly(size):
    stride = 32
    low = random_maps(2, 3, -(-size[0] // stride), -(-size[1] // stride))
    logits = random_maps(2, 1, *size, seed=1)
    packed = pack_outputs(logits, low)
    assert packed.shape == (2, 4, *size)
    logits_again, low_again = unpack_outputs(packed, stride)
    assert torch.equal(logits_again, logits)
    assert torch.equal(low_again, low)


def test_packing_favours_no_side():
    """Flipping before or after gives the same; ``nearest`` in place of ``nearest-exact`` would lean to one side."""
    low, logits = random_maps(1, 2, 3, 3), random_maps(1, 1, 70, 95)
    flipped = pack_outputs(logits.flip(2, 3), low.flip(2, 3))
    assert torch.equal(flipped, pack_outputs(logits, low).flip(2, 3))


def _maps(data):
    probs = [torch.sigmoid(torch.tensor(logits)).numpy()[0] for logits in data["logits"]]  # each (5, 6) float32
    truths = [np.array(mask, dtype=np.uint8)[0] for mask in data["true_masks"]]
    return probs, truths


def test_pseudo_masks_equal_golden(golden):
    data = golden("pseudo_labels")
    probs, truths = _maps(data)
    masks = [pseudo_mask(prob, data["threshold"]) for prob in probs]
    for mask, expected in zip(masks, data["masks"], strict=True):
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, expected)
    dices = [dice(mask, truth) for mask, truth in zip(masks, truths, strict=True)]
    np.testing.assert_allclose(dices, data["dice_per_image"], atol=1e-6)


def test_everything_can_be_scripted():
    logits, low = random_maps(1, 1, 40, 50), random_maps(1, 2, 2, 2)
    packed = torch.jit.script(pack_outputs)(logits, low)
    assert torch.equal(torch.jit.script(unpack_outputs)(packed, 32)[1], low)
    label = torch.tensor([1])
    assert torch.equal(torch.jit.script(cam_mask)(low, label, (9, 9)), cam_mask(low, label, (9, 9)))


def test_passes_are_restored_one_by_one():
    logits = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(5))
    found = restore_passes(logits, (9, 8))
    assert found.dtype == torch.float32
    assert torch.equal(found, torch.stack([restore(one, (9, 8)) for one in logits]))


def test_plain_restore_is_one_bilinear_resize():
    logits = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    once = torch.nn.functional.interpolate(logits[None, None], (20, 11), mode="bilinear", align_corners=False)[0, 0]
    torch.testing.assert_close(PlainGeometry().restore(logits, (20, 11)), once)
    assert torch.equal(PlainGeometry().restore(logits, (7, 5)), logits)


def test_plain_changes_nothing_on_the_way_in():
    assert PLAIN.network_size(30, 40) == (30, 40)
    assert PLAIN.training_transforms() == PLAIN.evaluation_transforms() == []


class TestGate:
    def found(self, *scores: float) -> Prediction:
        maps = torch.zeros(len(scores), 2, 2)
        maps[1] = 1.0
        return Prediction("x", np.full((4, 6), 0.7, np.float32), np.array(scores, np.float32), maps, (4, 6))

    def test_a_gated_class_closes_the_image(self) -> None:
        found = self.found(0.1, 0.9, 0.3)
        closed = found.gated((1,))
        assert closed.closed and closed.probs.shape == (4, 6) and not closed.probs.any()
        assert closed.probs.dtype == np.float32 and np.array_equal(closed.scores, found.scores)
        assert found.probs.min() == np.float32(0.7)  # what the network says stays

    @pytest.mark.parametrize("labels", [(), (0,), (0, 2)])
    def test_another_class_leaves_it_as_it_is(self, labels: tuple[int, ...]) -> None:
        found = self.found(0.1, 0.9, 0.3)
        assert found.gated(labels) is found and not found.closed

    def test_of_equal_scores_the_first_counts(self) -> None:
        assert self.found(0.5, 0.5).gated((0,)).closed
        assert not self.found(0.5, 0.5).gated((1,)).closed

    def test_masks_of_a_closed_image_are_empty_at_any_threshold(self) -> None:
        found = self.found(0.1, 0.9)
        assert found.mask(0.5).all() and found.mask(0.0).all() and found.cam_mask(1).all()
        closed = found.gated((1,))
        for mask in (closed.mask(0.5), closed.mask(0.0), closed.cam_mask(1)):
            assert mask.shape == (4, 6) and mask.dtype == np.uint8 and not mask.any()
        assert np.array_equal(closed.cam(1), found.cam(1))

    def test_the_classifiers_mask_is_of_the_true_class_unless_that_has_none(self) -> None:
        found = self.found(0.1, 0.9, 0.3)
        assert [drawn_class(found, label, (2,)) for label in range(3)] == [0, 1, 1]
