"""Losses of the joint network: six segmentation losses per image, and their sum with the classification loss.

Every segmentation loss maps ``logits (B, 1, H, W) float``, ``target (B, 1, H, W) float in [0, 1]`` and ``gate
(B, 1, H, W) float in [0, 1] or None`` to ``(B,)`` float32: one value per image, so that the caller decides which images
count and by how much. The gate is the weight of a pixel: with 0 it has no influence; an image whose gate is 0
everywhere has loss 0. Means are over weights; Dice and IoU multiply both probability and target by them.
Formulas as in Belharbi et al. 2021 (published code); all are computed in float32 whatever the autocast type.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.losses import DiceLoss
from torch import nn

from scripts.core.errors import InputError, Problem
from scripts.images.values import IGNORE

LABELLED, UNLABELLED, PSEUDO, BACKGROUND = 0, 1, 2, 3
"""Kinds of mask of a training image: from the oracle, none, from the model, empty because its class says so."""


class BCE(nn.Module):
    """Binary cross-entropy, mean over the pixels, each of the weight of its gate.

    Computed from logits, which agrees with the published clamp of ``log`` at -100 wherever the sigmoid does not
    saturate in float32, and keeps its gradient where it does.
    """

    def forward(self, logits: torch.Tensor, target: torch.Tensor, gate: torch.Tensor | None = None) -> torch.Tensor:
        """Return (B,) float32 >= 0."""
        logits = logits.float()
        return _gated_mean(F.softplus(logits) - logits * target.float(), gate)


class L1(nn.Module):
    """Absolute difference of probability and target, mean over the pixels, each of the weight of its gate."""

    def forward(self, logits: torch.Tensor, target: torch.Tensor, gate: torch.Tensor | None = None) -> torch.Tensor:
        """Return (B,) float32 in [0, 1]."""
        return _gated_mean((logits.float().sigmoid() - target.float()).abs(), gate)


class SoftDice(nn.Module):
    """``1 - (2 I + s) / (sum p^2 + sum t^2 + s)`` with ``I = sum(p t)``: MONAI's Dice loss with squared terms.

    Args:
        smooth: s > 0.
    """

    def __init__(self, smooth: float = 1.0) -> None:
        super().__init__()
        _check_smooth(smooth)
        self.loss = DiceLoss(squared_pred=True, smooth_nr=smooth, smooth_dr=smooth, reduction="none")

    def forward(self, logits: torch.Tensor, target: torch.Tensor, gate: torch.Tensor | None = None) -> torch.Tensor:
        """Return (B,) float32 in [0, 1)."""
        return self.loss(*_gated_pair(logits, target, gate)).flatten()


class IoU(nn.Module):
    """``1 - (I + s) / (sum p + sum t - I + s)`` with ``I = sum(p t)``: MONAI's Dice loss with ``jaccard``.

    Args:
        smooth: s > 0.
    """

    def __init__(self, smooth: float = 1.0) -> None:
        super().__init__()
        _check_smooth(smooth)
        # MONAI computes (2 I + s) / (2 U + s), so its smoothing is twice ours
        self.loss = DiceLoss(jaccard=True, smooth_nr=2 * smooth, smooth_dr=2 * smooth, reduction="none")

    def forward(self, logits: torch.Tensor, target: torch.Tensor, gate: torch.Tensor | None = None) -> torch.Tensor:
        """Return (B,) float32 in [0, 1)."""
        return self.loss(*_gated_pair(logits, target, gate)).flatten()


class _Sum(nn.Module):
    """Sum of two segmentation losses."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, logits: torch.Tensor, target: torch.Tensor, gate: torch.Tensor | None = None) -> torch.Tensor:
        """Return (B,) float32 >= 0."""
        return self.first(logits, target, gate) + self.second(logits, target, gate)


class BCEDice(_Sum):
    """:class:`BCE` plus :class:`SoftDice`."""

    def __init__(self, smooth: float = 1.0) -> None:
        super().__init__(BCE(), SoftDice(smooth))


class L1IoU(_Sum):
    """:class:`L1` plus :class:`IoU`."""

    def __init__(self, smooth: float = 1.0) -> None:
        super().__init__(L1(), IoU(smooth))


class JointLoss(nn.Module):
    """Equation 1 of Belharbi et al. 2021 on one batch of B images.

    ``scale_cl * mean_i CE_i + scale_seg / B * sum_{i in L} seg_i + scale_seg_u / B * sum_{i in P} seg_u_i``, where both
    sums are divided by the whole batch size, so an image weighs the same whatever else its batch holds. Images of
    background classes (N) add a term of the same shape, ``scale_seg_b / B * sum_{i in N} seg_i``.

    A term exists where its weight is above 0. Else it gives no gradient, so weight decay moves nothing either.

    Args:
        scale_cl: weight of the classification term, >= 0; 0 while the classifier is frozen (published).
        scale_seg: weight of images with an oracle mask, >= 0; 0 where there is no mask to learn from (stage 0).
        scale_seg_u: weight of images with a pseudo-mask (lambda), >= 0; 0 is the control without pseudo-masks.
        scale_seg_b: weight of images of background classes, whose masks are empty, >= 0.
        seg_loss: loss of oracle masks and empty ones, ``(logits, target, gate) -> (B,)``; :class:`BCE` when left out.
        seg_loss_u: loss of the pseudo-masks; ``seg_loss`` when left out.

    Raises:
        InputError: a negative weight, or no weight above 0.
    """

    def __init__(
        self,
        scale_cl: float = 0.0,
        scale_seg: float = 1.0,
        scale_seg_u: float = 0.1,
        seg_loss: nn.Module | None = None,
        seg_loss_u: nn.Module | None = None,
        scale_seg_b: float = 0.0,
    ) -> None:
        super().__init__()
        of_masks = {"scale_seg": scale_seg, "scale_seg_u": scale_seg_u, "scale_seg_b": scale_seg_b}
        _check_scales({"scale_cl": scale_cl, **of_masks})
        self.scale_cl, self.scale_seg, self.scale_seg_u = scale_cl, scale_seg, scale_seg_u
        self.scale_seg_b = scale_seg_b
        self.seg_loss = seg_loss if seg_loss is not None else BCE()
        self.seg_loss_u = seg_loss_u if seg_loss_u is not None else self.seg_loss

    def terms(
        self,
        scores: torch.Tensor,
        logits: torch.Tensor,
        labels: torch.Tensor,
        masks: torch.Tensor,
        kinds: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Return the weighted total and its terms before weighting.

        Args:
            scores: (B, K) float class scores (logits).
            logits: (B, 1, H, W) float foreground logits.
            labels: (B,) int64 class indices.
            masks: (B, 1, H, W) uint8 or float in {0, 1, 255}; 255 is ignored; of images of kind U not looked at. Or
                (B, 2, H, W): target and weight, both in 255ths.
            kinds: (B,) int64: 0 oracle mask (L), 1 no mask (U), 2 pseudo-mask (P), 3 background class (N).

        Returns:
            ``{"total", "cl", "seg", "seg_u"}``, scalars float32, and ``"seg_b"`` where it has a weight. A term of
            weight 0 is exactly 0 and is not computed. ``total`` can be propagated back to what any weight above 0
            trains, from a batch without any term too.
        """
        batch = logits.shape[0]
        masked = self.scale_seg > 0 or self.scale_seg_u > 0 or self.scale_seg_b > 0
        # 0 that is part of the graph and never NaN
        zero = scores[:0].sum().float() + (logits[:0].sum().float() if masked else 0.0)
        cl, seg, seg_u, seg_b = zero, zero, zero, zero
        if self.scale_cl > 0:
            cl = F.cross_entropy(scores.float(), labels)
        if masked:
            target, gate = _target_and_gate(masks)
            drawn = self.scale_seg > 0 or self.scale_seg_b > 0
            of_image = self.seg_loss(logits, target, gate) if drawn else None
            if of_image is not None and self.scale_seg > 0:
                seg = _sum_of_kind(of_image, kinds == LABELLED) / batch
            if of_image is not None and self.scale_seg_b > 0:
                seg_b = _sum_of_kind(of_image, kinds == BACKGROUND) / batch
            if self.scale_seg_u > 0:
                if of_image is None or self.seg_loss_u is not self.seg_loss:
                    of_image = self.seg_loss_u(logits, target, gate)
                seg_u = _sum_of_kind(of_image, kinds == PSEUDO) / batch
        total = zero + self.scale_cl * cl + self.scale_seg * seg + self.scale_seg_u * seg_u
        terms = {"total": total, "cl": cl, "seg": seg, "seg_u": seg_u}
        return terms if self.scale_seg_b <= 0 else {**terms, "total": total + self.scale_seg_b * seg_b, "seg_b": seg_b}

    def forward(
        self,
        scores: torch.Tensor,
        logits: torch.Tensor,
        labels: torch.Tensor,
        masks: torch.Tensor,
        kinds: torch.Tensor,
    ) -> torch.Tensor:
        """Return the weighted total, scalar float32; see :meth:`terms`."""
        return self.terms(scores, logits, labels, masks, kinds)["total"]


def _target_and_gate(masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return target and gate, (B, 1, H, W) float32 in [0, 1], of what :meth:`JointLoss.terms` gets."""
    if masks.shape[1] == 2:
        target, gate = (masks.float() / 255.0).split(1, dim=1)
        return target, gate
    known = masks != IGNORE
    return (masks * known).float(), known.float()


def _gated_mean(per_pixel: torch.Tensor, gate: torch.Tensor | None) -> torch.Tensor:
    """Return (B,): mean of (B, 1, H, W) over the pixels, weighted by the gate; 0 for an image whose gate is 0."""
    if gate is None:
        return per_pixel.flatten(1).mean(dim=1)
    gate = gate.float()
    return (per_pixel * gate).flatten(1).sum(dim=1) / gate.flatten(1).sum(dim=1).clamp(min=1.0)


def _gated_pair(
    logits: torch.Tensor, target: torch.Tensor, gate: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return probabilities and target, (B, 1, H, W) float32, both 0 where the gate is 0."""
    probs, target = logits.float().sigmoid(), target.float()
    return (probs, target) if gate is None else (probs * gate, target * gate)


def _sum_of_kind(per_image: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    return torch.where(chosen, per_image, torch.zeros_like(per_image)).sum()


def _check_smooth(smooth: float) -> None:
    if not smooth > 0:
        raise InputError(Problem("smooth must be positive, else an empty mask gives 0 / 0", "loss", "> 0", f"{smooth}"))


def _check_scales(scales: dict[str, float]) -> None:
    problems = [
        Problem("negative weight", name, ">= 0", f"{scale}") for name, scale in scales.items() if not scale >= 0
    ]
    if not any(scale > 0 for scale in scales.values()):
        cure = "Give one of them a weight; with a frozen classifier that is one of the masks."
        problems.append(Problem("nothing to train: no term of the loss has a weight", "loss", "> 0", f"{scales}", cure))
    if problems:
        raise InputError(problems)
