from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from scripts.core.errors import InputError
from scripts.images.values import IGNORE
from scripts.training.losses import BCE, L1, BCEDice, IoU, JointLoss, L1IoU, SoftDice

BY_PUBLISHED_NAME = {
    "BinCrossEntropySegmLoss": BCE,
    "BinSoftInvDiceLoss": SoftDice,
    "BCEAndSoftDiceLoss": BCEDice,
    "BinL1SegmLoss": L1,
    "BinIOUSegmLoss": IoU,
    "BinL1SegAndIOUSegmLoss": L1IoU,
}
ALL_LOSSES = pytest.mark.parametrize("loss", [kind() for kind in BY_PUBLISHED_NAME.values()], ids=BY_PUBLISHED_NAME)


def _logits(probs):
    """Logits (B, 1, 1, P) of probabilities [[...]], inverted in float64 so that the sigmoid gives them back."""
    return torch.logit(torch.tensor(probs, dtype=torch.float64)).float()[:, None, None]


def _maps(values):
    return torch.tensor(values, dtype=torch.float32)[:, None, None]


@pytest.mark.parametrize("name", BY_PUBLISHED_NAME)
def test_segmentation_loss_equals_golden(golden, name):
    data = golden("seg_losses")
    expected = data["losses"][name]
    loss, target, probs = BY_PUBLISHED_NAME[name](), _maps(data["true"]), _maps(data["pred"])
    logits = _logits(data["pred"]).requires_grad_()

    values = loss(logits, target, None)
    values.sum().backward()

    np.testing.assert_allclose(values.detach(), expected["no_gate"], atol=1e-5)
    np.testing.assert_allclose(loss(logits.detach(), target, _maps(data["gate"])), expected["gate"], atol=1e-5)
    by_logits = _maps(expected["grad_of_sum"]) * probs * (1 - probs)  # golden is by probability
    np.testing.assert_allclose(logits.grad, by_logits, atol=1e-5)


@pytest.mark.parametrize("name", ["BinSoftInvDiceLoss", "BinIOUSegmLoss"])
def test_smooth_equals_golden(golden, name):
    data = golden("seg_losses")
    loss = BY_PUBLISHED_NAME[name](smooth=0.5)
    values = loss(_logits(data["pred"]), _maps(data["true"]))
    np.testing.assert_allclose(values, data["smooth_half"][name], atol=1e-5)


def test_joint_loss_equals_golden(golden):
    data = golden("hybrid_loss")
    scores, labels = torch.tensor(data["scores"], requires_grad=True), torch.tensor(data["labels"])
    masks, probs = _maps(data["masks_trg"]), _maps(data["masks_pred"])
    checked = 0
    for case in data["cases"]:
        classifies = case["subtask"] != "SEGMENTATION" and not case["freeze_classifier"]
        segments = case["subtask"] != "CLASSIFICATION"
        loss = JointLoss(
            scale_cl=case["scale_cl"] * classifies,
            scale_seg=case["scale_seg"] * segments,
            scale_seg_u=case["scale_seg_u"] * case["weight_pl"] * segments,
            seg_loss=BY_PUBLISHED_NAME[case["segloss_l"]](),
            seg_loss_u=BY_PUBLISHED_NAME[case["segloss_pl"]](),
        )
        logits = _logits(data["masks_pred"]).requires_grad_()
        terms = loss.terms(scores, logits, labels, masks, torch.tensor(case["tags"]))
        found = [terms[name].item() for name in ("total", "cl", "seg", "seg_u")]
        assert found == pytest.approx([case[name] for name in ("total", "cl", "seg_l", "seg_pl")], abs=1e-5), case
        terms["total"].backward()
        checked += 1
        expected = case["row_sum_of_grad_wrt_masks_pred"]
        has_path = loss.scale_seg > 0 or loss.scale_seg_u > 0
        assert (logits.grad is not None) == has_path  # without one the decoder has no gradient to decay by
        if not expected:
            assert logits.grad is None or not logits.grad.any()
        else:
            by_probs = (logits.grad / (probs * (1 - probs))).flatten(1).sum(dim=1)
            np.testing.assert_allclose(by_probs, expected, atol=1e-5)
    assert checked == 48


def test_joint_loss_summed_over_the_batch_equals_golden(golden):
    data = golden("hybrid_loss")
    batch = len(data["labels"])
    loss = JointLoss(scale_cl=1.0)
    for case in data["eval_sum_mode"]:
        terms = loss.terms(
            torch.tensor(data["scores"]),
            _logits(data["masks_pred"]),
            torch.tensor(data["labels"]),
            _maps(data["masks_trg"]),
            torch.tensor(case["tags"]),
        )
        for ours, theirs in (("total", "total"), ("cl", "cl"), ("seg", "seg_l"), ("seg_u", "seg_pl")):
            assert terms[ours].item() * batch == pytest.approx(case[theirs], abs=1e-5)


@ALL_LOSSES
def test_loss_by_hand_of_one_pixel(loss):
    p, t, s = 0.8, 1.0, 1.0
    single = {
        BCE: -math.log(p),
        L1: 1 - p,
        SoftDice: 1 - (2 * p * t + s) / (p * p + t * t + s),
        IoU: 1 - (p * t + s) / (p + t - p * t + s),
    }
    single |= {BCEDice: single[BCE] + single[SoftDice], L1IoU: single[L1] + single[IoU]}
    assert loss(_logits([[p]]), _maps([[t]])).item() == pytest.approx(single[type(loss)], abs=1e-6)


@ALL_LOSSES
def test_closed_gate_gives_zero_and_no_gradient(loss):
    logits = torch.tensor([[30.0, -30.0], [1.0, -2.0]])[:, None, None].requires_grad_()
    gate = _maps([[0.0, 0.0], [1.0, 0.0]])
    values = loss(logits, _maps([[0.0, 1.0], [0.0, 1.0]]), gate)
    values.sum().backward()
    assert values[0].item() == 0.0
    assert values[1].item() > 0.0
    assert logits.grad[0].abs().sum().item() == 0.0
    assert torch.isfinite(logits.grad).all()


@ALL_LOSSES
def test_gate_equals_leaving_the_pixels_out(loss):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(1, 1, 1, 8, generator=generator)
    target = (torch.rand(1, 1, 1, 8, generator=generator) > 0.5).float()
    gate = torch.tensor([1, 1, 0, 1, 0, 0, 1, 1.0]).view(1, 1, 1, 8)
    kept = gate.bool()
    cut = loss(logits[kept].view(1, 1, 1, -1), target[kept].view(1, 1, 1, -1))
    assert loss(logits, target, gate).item() == pytest.approx(cut.item(), abs=1e-6)


@ALL_LOSSES
def test_extreme_logits_stay_finite(loss):
    logits = torch.tensor([[200.0, -200.0, 200.0]])[:, None, None].requires_grad_()
    values = loss(logits, _maps([[0.0, 1.0, 1.0]]), torch.ones(1, 1, 1, 3))
    values.sum().backward()
    assert torch.isfinite(values).all()
    assert torch.isfinite(logits.grad).all()


def _batch(kinds, seed=0):
    generator = torch.Generator().manual_seed(seed)
    size = len(kinds)
    return {
        "scores": torch.randn(size, 3, generator=generator).requires_grad_(),
        "logits": torch.randn(size, 1, 4, 5, generator=generator).requires_grad_(),
        "labels": torch.arange(size) % 3,
        "masks": (torch.rand(size, 1, 4, 5, generator=generator) > 0.5).to(torch.uint8),
        "kinds": torch.tensor(kinds),
    }


def test_ignored_pixels_have_no_influence():
    batch = _batch([0, 2, 0])
    batch["masks"][:, :, 0] = IGNORE
    batch["masks"][2] = IGNORE
    loss = JointLoss(seg_loss=BCEDice())
    first = loss(**batch)
    first.backward()
    assert batch["logits"].grad[:, :, 0].abs().sum().item() == 0.0
    assert batch["logits"].grad[:2, :, 1:].abs().min().item() > 0.0
    with torch.no_grad():
        batch["logits"][:, :, 0] += 5.0
    assert loss(**batch).item() == pytest.approx(first.item(), abs=1e-7)
    batch["masks"] = batch["masks"].float()
    assert loss(**batch).item() == pytest.approx(first.item(), abs=1e-7)


@ALL_LOSSES
def test_two_maps_of_a_mask_are_the_mask(loss):
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 1, 4, 5, generator=rng)
    mask = torch.randint(0, 3, (2, 1, 4, 5), generator=rng).to(torch.uint8)
    mask[mask == 2] = IGNORE
    maps = torch.cat([mask == 1, mask != IGNORE], dim=1).to(torch.uint8) * 255
    joint, kinds = JointLoss(seg_loss=loss, scale_seg_u=0.3), torch.tensor([0, 2])
    scores, labels = torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64)
    assert torch.equal(joint(scores, logits, labels, maps, kinds), joint(scores, logits, labels, mask, kinds))


def test_soft_targets_and_weights_by_hand():
    logits, maps = torch.logit(torch.tensor([[[[0.2, 0.9]]]])), torch.tensor([[[[51, 204]], [[255, 51]]]])
    joint = JointLoss(scale_seg=0.0, scale_seg_u=1.0)
    found = joint(torch.zeros(1, 2), logits, torch.zeros(1, dtype=torch.int64), maps.to(torch.uint8), torch.tensor([2]))
    first = -(0.2 * math.log(0.2) + 0.8 * math.log(0.8))
    second = -(0.8 * math.log(0.9) + 0.2 * math.log(0.1))
    assert float(found) == pytest.approx((first + 0.2 * second) / 1.2, rel=1e-5)


def test_dice_of_a_soft_target_is_zero_where_the_network_says_the_same():
    probs = torch.tensor([[[[0.2, 0.8, 0.5]]]])
    assert float(SoftDice()(torch.logit(probs), probs, torch.ones_like(probs))) == pytest.approx(0.0, abs=1e-6)


def test_sums_are_divided_by_the_whole_batch():
    batch = _batch([0, 1, 2, 1])
    terms = JointLoss().terms(**batch)
    values = BCE()(batch["logits"], batch["masks"].float())
    assert terms["seg"].item() == pytest.approx(values[0].item() / 4, abs=1e-6)
    assert terms["seg_u"].item() == pytest.approx(values[2].item() / 4, abs=1e-6)
    assert terms["total"].item() == pytest.approx((values[0].item() + 0.1 * values[2].item()) / 4, abs=1e-6)


def test_weight_zero_is_exactly_zero_even_where_the_term_would_be_nan():
    batch = _batch([0, 2])
    broken = torch.nn.Module()
    broken.forward = lambda logits, target, gate: torch.full((len(logits),), float("nan"))
    terms = JointLoss(scale_seg_u=0.0, seg_loss_u=broken).terms(**batch)
    assert terms["seg_u"].item() == 0.0
    assert torch.isfinite(terms["total"])
    assert terms["total"].item() == pytest.approx(JointLoss(scale_seg_u=0.0).terms(**batch)["seg"].item())


@pytest.mark.parametrize("kinds", [[1, 1], [2, 2]])
def test_batch_without_any_term_can_be_propagated_back(kinds):
    batch = _batch(kinds)
    total = JointLoss(scale_seg_u=0.0)(**batch)
    total.backward()
    assert total.item() == 0.0
    assert batch["logits"].grad.abs().sum().item() == 0.0


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(InputError, match="scale_seg"):
        JointLoss(scale_seg=-1.0)
    with pytest.raises(InputError, match="nothing to train"):
        JointLoss(scale_cl=0.0, scale_seg=0.0, scale_seg_u=0.0)
    with pytest.raises(InputError, match="smooth"):
        SoftDice(smooth=0.0)


def test_images_of_background_classes_by_hand():
    batch = _batch([0, 3, 2, 3])
    batch["masks"][[1, 3]] = 0
    terms = JointLoss(scale_seg_b=0.5).terms(**batch)
    values = BCE()(batch["logits"], batch["masks"].float())
    assert terms["seg_b"].item() == pytest.approx((values[1] + values[3]).item() / 4, abs=1e-6)
    expected = values[0] + 0.1 * values[2] + 0.5 * (values[1] + values[3])
    assert terms["total"].item() == pytest.approx(expected.item() / 4, abs=1e-6)
    terms["total"].backward()
    assert (batch["logits"].grad[[1, 3]] > 0).all()  # every pixel is pushed towards background


def test_background_without_a_weight_is_what_there_was():
    batch = _batch([0, 3, 2, 1])
    terms, before = JointLoss(scale_seg_b=0.0).terms(**batch), JointLoss().terms(**_batch([0, 1, 2, 1]))
    assert terms.keys() == {"total", "cl", "seg", "seg_u"}
    assert all(torch.equal(terms[name], before[name]) for name in terms)
    with pytest.raises(InputError, match="scale_seg_b"):
        JointLoss(scale_seg_b=-0.1)


def test_background_alone_can_be_learned_from():
    batch = _batch([3, 0])
    batch["masks"][0] = 0
    terms = JointLoss(scale_seg=0.0, scale_seg_u=0.0, scale_seg_b=1.0).terms(**batch)
    assert terms["seg"].item() == terms["seg_u"].item() == 0.0
    assert terms["total"].item() == terms["seg_b"].item() > 0
