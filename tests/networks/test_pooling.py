"""WILDCAT pooling, class maps, CAM masks and the packed output."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from scripts.networks.pooling import ClassMapHead, WildcatPool, pooled_values


def random_maps(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def reference_score(values: np.ndarray, top: int, bottom: int, alpha: float) -> float:
    """WILDCAT's formula for one map, written with numpy from the paper."""
    ordered = np.sort(values.ravel())
    return (ordered[-top:].mean() + alpha * ordered[:bottom].mean()) / 2


def test_number_of_pooled_values_is_the_published_table(golden):
    for row in golden("wildcat_pooling")["get_k"]:
        pool = WildcatPool(kmin=row["k"])
        assert pooled_values(pool.bottom_fraction, pool.bottom_count, row["n"]) == row["out"], row


@pytest.mark.parametrize("use_bottom", [True, False])
def test_scores_equal_golden(golden, use_bottom):
    data = golden("wildcat_pooling")
    maps = torch.tensor(data["maps"]["data"]).reshape(data["maps"]["shape"])
    key = "scores_if_kmin_term_were_used" if use_bottom else "scores_reference"
    for case in data["cases"]:
        pool = WildcatPool(case["kmax"], case["kmin"], case["alpha"], use_bottom=use_bottom, dropout=0.1).eval()
        torch.testing.assert_close(pool(maps), torch.tensor(case[key]), atol=1e-5, rtol=0)


def test_head_and_modalities_equal_golden(golden):
    data = golden("wildcat_pooling")
    wise = data["class_wise"]
    averaged = ClassMapHead(1, wise["classes"], wise["modalities"]).average(torch.tensor(wise["inp"]))
    torch.testing.assert_close(averaged, torch.tensor(wise["out"]), atol=1e-5, rtol=0)

    given = data["head"]
    head = ClassMapHead(given["in_channels"], given["classes"], given["modalities"])
    weight = torch.tensor(given["weight"]).reshape(head.conv.weight.shape)
    head.conv.load_state_dict({"weight": weight, "bias": torch.tensor(given["bias"])})
    maps = head(torch.tensor(given["x"]))
    torch.testing.assert_close(maps, torch.tensor(given["maps"]), atol=1e-5, rtol=0)
    pool = WildcatPool(given["kmax"], given["kmin"], given["alpha"], use_bottom=False).eval()
    torch.testing.assert_close(pool(maps), torch.tensor(given["scores"]), atol=1e-5, rtol=0)


def test_scores_equal_the_formula():
    maps = random_maps(2, 3, 7, 9)
    scores = WildcatPool(0.2, 0.3, 0.7).eval()(maps)
    for b in range(2):
        for c in range(3):
            expected = reference_score(maps[b, c].numpy(), top=13, bottom=19, alpha=0.7)
            assert scores[b, c].item() == pytest.approx(expected, abs=1e-6)


def test_lowest_values_matter_only_when_used():
    maps = random_maps(1, 1, 6, 5)
    lowered = maps.clone()
    lowered.view(-1)[maps.argmin()] -= 10
    used, unused = WildcatPool(), WildcatPool(use_bottom=False)
    assert used(lowered).item() < used(maps).item() - 0.5
    assert unused(lowered).item() == unused(maps).item()


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 3)])
def test_tiny_maps_have_finite_scores(size):
    maps = random_maps(2, 2, *size)
    scores = WildcatPool(kmax=0.1, kmin=0.1, alpha=1.0)(maps)
    expected = (maps.flatten(2).max(2).values + maps.flatten(2).min(2).values) / 2
    torch.testing.assert_close(scores, expected)


def test_gradient_reaches_only_the_pooled_pixels():
    maps = random_maps(1, 1, 5, 6).requires_grad_()
    WildcatPool(kmax=2, kmin=1, alpha=0.5)(maps).sum().backward()
    order = maps.detach().flatten().argsort(descending=True)
    expected = torch.zeros(30)
    expected[order[:2]] = 0.25
    expected[order[-1]] = 0.25
    torch.testing.assert_close(maps.grad.flatten(), expected)


def test_dropout_acts_in_train_mode_only():
    maps = torch.ones(4, 2, 10, 10)
    pool = WildcatPool(kmax=1.0, use_bottom=False, dropout=0.5)
    torch.manual_seed(0)
    assert not torch.equal(pool(maps), torch.ones(4, 2))
    torch.testing.assert_close(pool.eval()(maps), torch.ones(4, 2))


@pytest.mark.parametrize("kmax", [0, 0.0, -1])
def test_kmax_must_be_above_zero(kmax):
    with pytest.raises(ValueError, match="kmax"):
        WildcatPool(kmax=kmax)


def test_everything_can_be_scripted():
    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = ClassMapHead(4, 2, 3)
            self.pool = WildcatPool(0.1, 2, 0.6, dropout=0.1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.pool(self.head(x))

    net = Classifier().eval()
    scripted = torch.jit.script(net)
    for side in (5, 15):  # 2.5 values round to 2, 22.5 to 22
        x = random_maps(2, 4, side, side)
        torch.testing.assert_close(scripted(x), net(x))
