"""What a batch hands to the network, and the loss of a packed output."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scripts.networks.joint_net import JointNet
from scripts.training.criterion import JointCriterion, PrepareJointBatch
from scripts.training.losses import BCEDice, JointLoss
from tests.support.tiny import tiny_net

BATCH = {
    "image": torch.rand(3, 3, 64, 64),
    "mask": torch.randint(0, 2, (3, 1, 64, 64), dtype=torch.uint8),
    "label": torch.tensor([0, 1, 1]),
    "kind": torch.tensor([0, 1, 2]),
    "id": ["x", "y", "z"],
    "key": ["x#0", "y#0", "z#0"],
}


@pytest.fixture
def net() -> JointNet:
    return tiny_net(2)


def test_batch_is_parted_into_images_targets_and_keys():
    images, targets, args, kwargs = PrepareJointBatch()(BATCH, "cpu", non_blocking=True)
    assert images is BATCH["image"]
    assert set(targets) == {"mask", "label", "kind", "id"}
    assert all(torch.equal(targets[name], BATCH[name]) for name in ("mask", "label", "kind"))
    assert targets["id"] == BATCH["id"]
    assert (args, kwargs) == ((), {"keys": BATCH["key"]})


def test_batch_moves_to_the_device():
    images, targets, _, _ = PrepareJointBatch()(BATCH, "meta")
    assert {value.device.type for value in (images, targets["mask"], targets["label"], targets["kind"])} == {"meta"}


def test_loss_is_that_of_the_unpacked_outputs(net):
    loss = JointLoss(scale_cl=0.7, scale_seg=1.3, scale_seg_u=0.2, seg_loss=BCEDice())
    criterion = JointCriterion(net, loss)
    total = criterion(net(BATCH["image"]), BATCH)
    features = net.encode(BATCH["image"])
    scores, logits = net.pool(net.class_maps(features)), net.decode(features, BATCH["image"])
    expected = loss.terms(scores, logits, BATCH["label"], BATCH["mask"], BATCH["kind"])
    torch.testing.assert_close(total, expected["total"])
    assert criterion.terms == pytest.approx({name: value.item() for name, value in expected.items()}, rel=1e-5)
    assert min(criterion.terms.values()) > 0
    assert all(type(value) is float for value in criterion.terms.values())


def test_unpacked_outputs_give_the_same_loss_and_gradients(net):
    net.freeze(False)
    criterion, found = JointCriterion(net, JointLoss(scale_cl=1.0)), []
    features = net.encode(BATCH["image"])
    for outputs in (net(BATCH["image"]), (net.decode(features, BATCH["image"]), net.class_maps(features))):
        net.zero_grad()
        loss = criterion(outputs, BATCH)
        loss.backward()
        found.append([loss.detach(), *(p.grad.clone() for p in net.parameters() if p.grad is not None)])
    assert len(found[0]) == len(found[1]) > 10
    for packed, parts in zip(*found, strict=True):
        torch.testing.assert_close(parts, packed, rtol=1e-4, atol=1e-6)


def test_every_part_of_the_network_learns_from_it(net):
    net.freeze(False)
    JointCriterion(net, JointLoss(scale_cl=1.0))(net(BATCH["image"]), BATCH).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.head.parameters())
    assert {name.split(".")[0] for name, p in net.named_parameters() if p.grad is not None} == {
        "encoder",
        "head",
        "decoder",
        "segmentation_head",
    }


def test_the_network_is_no_part_of_the_criterion(net):
    criterion = JointCriterion(net, JointLoss())
    assert list(criterion.parameters()) == []
    assert criterion.state_dict() == {}
    net.eval()
    criterion.train()
    assert not net.training


def test_a_wrapped_network_is_unwrapped(net):
    wrapped = nn.Module()
    wrapped.module = net
    loss = JointLoss(scale_cl=1.0)
    packed = net(BATCH["image"])
    assert torch.equal(JointCriterion(wrapped, loss)(packed, BATCH), JointCriterion(net, loss)(packed, BATCH))
