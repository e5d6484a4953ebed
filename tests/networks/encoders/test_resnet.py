"""ResNet encoders: torchvision's names, shapes and outputs, written out independently."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import FlexibleUNet
from torch.nn import functional as F

from scripts.core.errors import InputError
from scripts.networks.encoders import pretrained
from scripts.networks.encoders.resnet import TorchvisionResNetEncoder

BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}
# Parameters of torchvision's models without fc (11,689,512, 21,797,672 and 25,557,032 with it).
COUNTS = {"resnet18": 11_176_512, "resnet34": 21_284_672, "resnet50": 23_508_032}


def torchvision_layout(name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's state dict without ``fc``, from He et al. 2016, table 1."""
    shapes: dict[str, tuple[int, ...]] = {}

    def norm(prefix: str, channels: int) -> None:
        shapes.update({f"{prefix}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")})
        shapes[f"{prefix}.num_batches_tracked"] = ()

    def conv(prefix: str, number: str, shape: tuple[int, ...]) -> None:
        shapes[f"{prefix}conv{number}.weight"] = shape
        norm(f"{prefix}bn{number}", shape[0])

    conv("", "1", (64, 3, 7, 7))
    bottleneck, entering = name == "resnet50", 64
    for stage, blocks in enumerate(BLOCKS[name], start=1):
        width = 64 * 2 ** (stage - 1)
        leaving = 4 * width if bottleneck else width
        for block in range(blocks):
            prefix = f"layer{stage}.{block}."
            if bottleneck:
                conv(prefix, "1", (width, entering, 1, 1))
                conv(prefix, "2", (width, width, 3, 3))
                conv(prefix, "3", (leaving, width, 1, 1))
            else:
                conv(prefix, "1", (width, entering, 3, 3))
                conv(prefix, "2", (width, width, 3, 3))
            if block == 0 and entering != leaving:
                shapes[f"{prefix}downsample.0.weight"] = (leaving, entering, 1, 1)
                norm(f"{prefix}downsample.1", leaving)
            entering = leaving
    return shapes


def plain_resnet(state: dict[str, torch.Tensor], name: str, x: torch.Tensor) -> list[torch.Tensor]:
    """The five features of a ResNet in eval mode, from its state dict alone."""

    def norm(x: torch.Tensor, prefix: str) -> torch.Tensor:
        parts = (state[f"{prefix}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts, training=False, eps=1e-5)

    def conv(x: torch.Tensor, prefix: str, number: int, stride: int = 1) -> torch.Tensor:
        weight = state[f"{prefix}conv{number}.weight"]
        return norm(F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2), f"{prefix}bn{number}")

    x = F.relu(conv(x, "", 1, stride=2))
    features = [x]
    x = F.max_pool2d(x, 3, 2, 1)
    for stage, blocks in enumerate(BLOCKS[name], start=1):
        for block in range(blocks):
            prefix, stride = f"layer{stage}.{block}.", 2 if stage > 1 and block == 0 else 1
            shortcut = x
            if f"{prefix}downsample.0.weight" in state:
                shortcut = F.conv2d(x, state[f"{prefix}downsample.0.weight"], stride=stride)
                shortcut = norm(shortcut, f"{prefix}downsample.1")
            if name == "resnet50":
                x = F.relu(conv(x, prefix, 1))
                x = F.relu(conv(x, prefix, 2, stride))
                x = conv(x, prefix, 3)
            else:
                x = F.relu(conv(x, prefix, 1, stride))
                x = conv(x, prefix, 2)
            x = F.relu(x + shortcut)
        features.append(x)
    return features


def random_encoder(name: str) -> TorchvisionResNetEncoder:
    """An encoder whose batch-norm does something: its statistics and weights are not 0 and 1."""
    generator = torch.Generator().manual_seed(0)
    encoder = TorchvisionResNetEncoder(name).eval()
    with torch.no_grad():
        for value in encoder.state_dict().values():
            if value.ndim == 1:
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))
    return encoder


@pytest.mark.parametrize("name", BLOCKS)
def test_parameters_are_those_of_torchvision(name):
    encoder = TorchvisionResNetEncoder(name)
    assert {key: tuple(value.shape) for key, value in encoder.state_dict().items()} == torchvision_layout(name)
    assert sum(p.numel() for p in encoder.parameters()) == COUNTS[name]


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("size", [(64, 96), (75, 51)])
def test_features_equal_a_plain_resnet(name, size):
    encoder = random_encoder(name)
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found, expected = encoder(x), plain_resnet(encoder.state_dict(), name, x)
    index = encoder.get_encoder_names().index(f"tv_{name}")
    assert [f.shape[1] for f in found] == list(encoder.num_channels_per_output()[index])
    for ours, plain in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-4 * plain.abs().max().item())


def test_flexible_unet_takes_the_encoder_by_name_and_can_be_scripted():
    net = FlexibleUNet(3, 1, "tv_resnet18", pretrained=False, decoder_channels=(16, 16, 8, 8, 8)).eval()
    x = torch.randn(1, 3, 96, 64)  # FlexibleUNet needs sides of whole multiples of 32
    assert net(x).shape == (1, 1, 96, 64)
    torch.testing.assert_close(torch.jit.script(net.encoder)(x)[4], net.encoder(x)[4])


@pytest.mark.parametrize("as_path", [True, False])
def test_pretrained_weights_reach_the_encoder(tmp_path, monkeypatch, as_path):
    weights = {key: torch.full_like(value, 2) for key, value in TorchvisionResNetEncoder().state_dict().items()}
    weights |= {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    file = pretrained.RESNET_WEIGHTS["resnet18"]
    path = (tmp_path if as_path else tmp_path / "hub" / "checkpoints") / file.filename
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(weights, path)
    with path.open("rb") as stream:
        digest = pretrained.hashlib.file_digest(stream, "sha256").hexdigest()
    monkeypatch.setitem(pretrained.RESNET_WEIGHTS, "resnet18", pretrained.WeightFile(file.url, digest))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    net = FlexibleUNet(3, 1, "tv_resnet18", pretrained=str(path) if as_path else True)
    assert all((value == 2).all() for value in net.encoder.state_dict().values())


def test_a_file_with_another_hash_is_refused(tmp_path):
    path = tmp_path / "resnet18-f37072fd.pth"
    torch.save(TorchvisionResNetEncoder().state_dict(), path)
    with pytest.raises(InputError, match="SHA-256 f37072fd"):
        TorchvisionResNetEncoder("resnet18", pretrained=str(path))


@pytest.mark.parametrize(
    "settings",
    [{"model_name": "resnet19"}, {"spatial_dims": 3}, {"in_channels": 1, "pretrained": True}],
)
def test_settings_that_cannot_work_are_refused(settings):
    with pytest.raises(ValueError, match="expected"):
        TorchvisionResNetEncoder(**settings)


def test_other_numbers_of_channels_work_without_weights():
    assert TorchvisionResNetEncoder(in_channels=1)(torch.zeros(2, 1, 64, 64))[4].shape == (2, 512, 2, 2)
