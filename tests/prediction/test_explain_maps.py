from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from scripts.core.errors import InputError
from scripts.networks.inferer import JointInferer
from scripts.networks.interface import JointNetwork
from scripts.networks.published_net import PublishedNet
from scripts.prediction.explain_maps import binary_entropy_map, dropout_spread, flip_spread, gradient_cams, spread_of
from scripts.prediction.tiling import TiledInferer
from tests.support.colour_net import ColourNet, colour_source
from tests.support.tiny import tiny_net


def networks() -> list[JointNetwork]:
    torch.manual_seed(1)
    published = PublishedNet(3, base_width=2, leak=2)
    return [tiny_net(3, modalities=2).eval(), published.eval(), tiny_net(3, freeze_classifier=True).eval()]


def features_and_scores(network: JointNetwork, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        features = [feature.detach() for feature in network.encode(x)]
    last = features[-1].clone().requires_grad_()
    return last, network.pool(network.class_maps([*features[:-1], last]))


class TestGradCam:
    """Against the formulas of the papers, written anew, on gradients of ``torch.autograd.grad``."""

    @pytest.mark.parametrize("network", networks(), ids=["JointNet", "PublishedNet", "frozen"])
    @pytest.mark.parametrize("label", [0, 2])
    def test_is_what_the_papers_say(self, network: JointNetwork, label: int) -> None:
        x = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))
        cam, cam_pp = gradient_cams(network, x, label)
        last, scores = features_and_scores(network, x)
        (gradient,) = torch.autograd.grad(scores[0, label], last)
        a, g = last[0].detach().double().numpy(), gradient[0].double().numpy()  # (K, h, w)
        expected = np.maximum(np.einsum("k,khw->hw", g.mean(axis=(1, 2)), a), 0)
        assert cam.shape == expected.shape == (3, 4)
        assert np.allclose(cam, expected, rtol=1e-4, atol=1e-7 + 1e-5 * expected.max())
        below = 2 * g**2 + (a * g**3).sum(axis=(1, 2), keepdims=True)
        alpha = g**2 / np.where(below != 0, below + 1e-7, 1 + 1e-7)  # the small number is MONAI's
        weights = (alpha * np.maximum(math.exp(scores[0, label].item()) * g, 0)).sum(axis=(1, 2))
        expected = np.maximum(np.einsum("k,khw->hw", weights, a), 0)
        assert np.allclose(cam_pp, expected, rtol=1e-3, atol=1e-4 * max(expected.max(), 1e-12))

    def test_is_the_class_map_without_bias_and_negative_part(self) -> None:
        network, x = networks()[0], torch.rand(1, 3, 96, 128)
        cam = gradient_cams(network, x, 1)[0]
        with torch.no_grad():
            maps = network.class_maps(network.encode(x))[0, 1]
            bias = network.head.conv.bias.reshape(3, 2).mean(1)[1]  # type: ignore[attr-defined]
        expected = (maps - bias).clamp(min=0).numpy()
        assert cam.max() > 0
        assert np.allclose(cam / cam.max(), expected / expected.max(), atol=1e-4)

    def test_leaves_the_network_as_it_was(self) -> None:
        network = networks()[0]
        before = {name: value.clone() for name, value in network.state_dict().items()}  # type: ignore[attr-defined]
        gradient_cams(network, torch.rand(1, 3, 64, 64), 0)
        assert not network.training  # type: ignore[attr-defined]
        assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())  # type: ignore[attr-defined]
        assert all(p.grad is None for p in network.parameters())  # type: ignore[attr-defined]


class TestSpread:
    def test_is_numpys(self) -> None:
        samples = np.random.default_rng(0).random((7, 5, 6), dtype=np.float32)
        found = spread_of(iter(samples))
        assert np.allclose(found.mean, samples.mean(axis=0), atol=1e-6)
        assert np.allclose(found.variance, samples.var(axis=0, ddof=1), atol=1e-7)
        p = samples.mean(axis=0, dtype=np.float64)
        assert np.allclose(found.entropy, -(p * np.log(p) + (1 - p) * np.log(1 - p)), atol=1e-6)

    def test_entropy_of_certain_and_of_undecided_pixels(self) -> None:
        found = binary_entropy_map(np.array([[0.0, 1.0, 0.5]], np.float32))
        assert found.dtype == np.float32
        assert np.allclose(found, [[0, 0, math.log(2)]])

    def test_one_sample_has_no_variance(self) -> None:
        with pytest.raises(InputError, match="passes"):
            spread_of([np.zeros((2, 2))])


class TestDropout:
    def spread(self, network: JointNetwork, seed: int = 0, passes: int = 8, dropout: float = 0.3) -> np.ndarray:
        x = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            return dropout_spread(JointInferer(flips=True), network, x, (50, 40), passes, dropout, seed).variance

    def test_seed_decides(self) -> None:
        network = tiny_net(2).eval()
        state = torch.get_rng_state()
        first, again, other = self.spread(network), self.spread(network), self.spread(network, seed=1)
        assert torch.equal(torch.get_rng_state(), state)
        assert np.array_equal(first, again) and not np.array_equal(first, other)
        assert first.shape == (50, 40) and first.max() > 0

    def test_is_the_variance_of_bernoulli_inputs(self) -> None:
        """Dropout p on the pixels of a known network: logit 0 with probability about p each, else enlarged."""
        network = ColourNet().eval()
        x = torch.zeros(1, 3, 64, 64)
        x[:, 0] = 0.1
        with torch.no_grad():
            found = dropout_spread(JointInferer(), network, x, (64, 64), 400, 0.25, 0)
        values = 1 / (1 + np.exp(-np.array([0.0, 8 * 0.1 / 0.75])))
        mean = 0.25 * values[0] + 0.75 * values[1]
        variance = 0.25 * values[0] ** 2 + 0.75 * values[1] ** 2 - mean**2
        assert found.mean.mean() == pytest.approx(mean, rel=1e-3)
        assert found.variance.mean() == pytest.approx(variance, rel=2e-2)

    def test_network_is_put_back(self) -> None:
        network = tiny_net(2, dropout=0.1).eval()
        self.spread(network)
        assert network.dropout.p == 0.1 and not network.dropout.training

    @pytest.mark.parametrize("dropout", [0.0, 1.0, -1.0])
    def test_range(self, dropout: float) -> None:
        with pytest.raises(InputError, match="explain#dropout"):
            self.spread(tiny_net(2).eval(), dropout=dropout)


class TestFlips:
    def test_is_over_the_four_flips(self, tmp_path: Path) -> None:
        network = tiny_net(2).eval()
        x = torch.rand(1, 3, 64, 96)
        with torch.no_grad():
            found = flip_spread(TiledInferer(colour_source(tmp_path), amp=False), network, x, (64, 96))
            probs = [network(x.flip(axes)).flip(axes)[0, 0].sigmoid().numpy() for axes in ((), (-1,), (-2,), (-2, -1))]
        assert np.allclose(found.variance, np.var(probs, axis=0, ddof=1), atol=1e-6)
        assert np.allclose(found.mean, np.mean(probs, axis=0), atol=1e-5)

    def test_a_network_of_single_pixels_is_certain(self, tmp_path: Path) -> None:
        inferer = TiledInferer(colour_source(tmp_path))
        with torch.no_grad():
            found = flip_spread(inferer, ColourNet(), torch.rand(1, 3, 100, 200), (100, 200))
        assert found.variance.max() < 1e-9
        assert inferer.flips  # the inferer of predictions is left alone
