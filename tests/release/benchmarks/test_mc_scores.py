"""Ways to a score by Monte-Carlo dropout: that they make the same score, and leave the networks as they were."""

from __future__ import annotations

import pytest
import torch

from scripts.release.benchmarks import mc_scores
from scripts.release.benchmarks.mc_scores import MC_ROWS, Scorer, mc_cases


@pytest.fixture
def image(monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    monkeypatch.setattr(mc_scores, "PASSES", 60)
    monkeypatch.setattr(mc_scores, "ORIGINAL", (50, 70))
    return torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def test_both_ways_with_one_network_give_the_same_score_up_to_chance(image: torch.Tensor) -> None:
    scorer = Scorer(image, amp=False)
    torch.manual_seed(0)
    kept, every = float(scorer.kept()), float(scorer.all())
    assert kept > 0 and abs(kept / every - 1) < 0.15


def test_the_old_way_has_the_wide_decoder_and_all_leave_dropout_off(image: torch.Tensor) -> None:
    scorer = Scorer(image, amp=False)
    assert sum(p.numel() for p in scorer.wide.decoder.parameters()) > sum(
        p.numel() for p in scorer.network.decoder.parameters()
    )
    assert float(scorer.old()) > 0
    assert not scorer.wide.dropout.training and not scorer.network.dropout.training


def test_plain_logits_are_those_of_the_network(image: torch.Tensor) -> None:
    network = Scorer(image, amp=False).network
    with torch.no_grad():
        features = network.encode(image)
        plain, ours = mc_scores._plain(network, features), network.decode(features, image)
    torch.testing.assert_close(plain, ours, rtol=1e-4, atol=1e-5)


def test_every_row_has_its_case(image: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mc_scores, "PASSES", 2)
    cases = mc_cases(image, amp=False)
    assert [case.key for case in cases] == list(MC_ROWS)
    assert all(float(case.run()) > 0 for case in cases)
