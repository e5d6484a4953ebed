from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from scripts.core.errors import InputError, StateError, UserError
from scripts.networks.model_file import HASH, KEY, ModelInfo, is_described, read_model, weights_sha256, write_model
from tests.support.payloads import payloads

INFO = ModelInfo(
    network={"_target_": "scripts.networks.joint_net.JointNet", "num_classes": 2, "decoder_channels": [8, 8, 8, 8, 8]},
    classes=("a", "b"),
    image_size=(48, 64),
    threshold=0.41,
    provenance={"run": "label_prop_seed0", "round": 3},
)
WEIGHTS = {"w": torch.arange(6.0).reshape(2, 3).t(), "steps": torch.tensor(7), "half": torch.ones(2).half()}


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt"])
@pytest.mark.parametrize("size", [(48, 64), None])
def test_what_was_written_is_read(name: str, size: tuple[int, int] | None, tmp_path: Path) -> None:
    info = replace(INFO, image_size=size)
    write_model(tmp_path / name, WEIGHTS, info)
    weights, found = read_model(tmp_path / name)
    assert found == info
    assert weights.keys() == WEIGHTS.keys()
    for key, value in WEIGHTS.items():
        assert weights[key].dtype == value.dtype and torch.equal(weights[key], value)


def test_safetensors_holds_the_description_in_its_metadata(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_model(path, WEIGHTS, INFO)
    with safetensors.safe_open(path, framework="pt") as file:
        described = json.loads(file.metadata()[KEY])
    assert described["version"] == 1
    assert described["classes"] == ["a", "b"] and described["threshold"] == 0.41
    assert list(tmp_path.iterdir()) == [path]


def test_a_pt_is_a_plain_state_dict_with_its_description_beside_it(tmp_path: Path) -> None:
    write_model(tmp_path / "model.pt", WEIGHTS, INFO)
    assert torch.equal(torch.load(tmp_path / "model.pt", weights_only=True)["w"], WEIGHTS["w"])
    assert json.loads((tmp_path / "model.json").read_text())["image_size"] == [48, 64]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("threshold", 1.5),
        ("threshold", float("nan")),
        ("threshold", True),
        ("classes", ()),
        ("classes", (1, 2)),
        ("image_size", (0, 4)),
        ("image_size", (4,)),
        ("network", {"num_classes": 2}),
        ("mask_from", "guess"),
    ],
)
def test_values_that_describe_no_model_are_refused(field: str, value: object) -> None:
    with pytest.raises(InputError, match=field):
        replace(INFO, **{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "{}", '{"version": 2}', '{"version": 1}', INFO.to_json().replace('"threshold"', '"treshold"')],
)
def test_texts_that_describe_no_model_are_refused(text: str, tmp_path: Path) -> None:
    safetensors.torch.save_file({"w": torch.ones(1)}, tmp_path / "m.safetensors", {KEY: text})
    with pytest.raises(InputError, match="description"):
        read_model(tmp_path / "m.safetensors")


def test_files_that_are_no_model_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    safetensors.torch.save_file({"w": torch.ones(1)}, tmp_path / "bare.safetensors")
    (tmp_path / "alone.pt").write_bytes(b"")
    for name in ("cut.safetensors", "bare.safetensors", "alone.pt", "missing.safetensors", "model.bin"):
        with pytest.raises(InputError):
            read_model(tmp_path / name)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    for number, content in enumerate(payloads(canary)):
        for suffix in (".pt", ".safetensors"):
            path = tmp_path / f"evil{number}{suffix}"
            path.write_bytes(content)
            path.with_suffix(".json").write_text(INFO.to_json())
            with pytest.raises((InputError, StateError)) as caught:
                read_model(path)
            assert isinstance(caught.value, UserError)
    assert not canary.exists()


class TestHash:
    def test_tells_names_values_types_and_shapes_apart(self) -> None:
        base = {"a": torch.arange(4.0), "b": torch.tensor(1)}
        others = [
            {"a": torch.arange(4.0)}, {"A": base["a"], "b": base["b"]}, {**base, "a": base["a"].reshape(2, 2)},
            {**base, "a": base["a"].double()}, {**base, "a": base["a"] + 1e-6},
        ]  # fmt: skip
        hashes = {weights_sha256(weights) for weights in (base, *others)}
        assert len(hashes) == 1 + len(others)

    def test_order_and_strides_do_not_matter(self) -> None:
        conv = torch.rand(4, 3, 3, 3)
        strided = {"b": torch.ones(2), "a": conv.to(memory_format=torch.channels_last)}
        assert weights_sha256({"a": conv, "b": torch.ones(2)}) == weights_sha256(strided)

    def test_a_description_belongs_to_its_weights(self) -> None:
        described = replace(INFO, provenance={HASH: weights_sha256(WEIGHTS)})
        assert is_described(WEIGHTS, described) and is_described(WEIGHTS, INFO)
        assert not is_described({**WEIGHTS, "steps": torch.tensor(8)}, described)


def test_descriptions_of_older_files_are_read() -> None:
    info = replace(INFO, native_size=(64, 96))
    text = info.to_json().replace(', "native_size": [64, 96]', "")
    assert "native_size" not in text
    assert ModelInfo.from_json(text, "x") == INFO
    with pytest.raises(InputError, match="native_size"):
        replace(INFO, native_size=(0, 3))


class TestBackground:
    INFO = replace(INFO, background_classes=("b",))

    @pytest.mark.parametrize("gate", [True, False])
    def test_is_kept(self, tmp_path: Path, gate: bool) -> None:
        info = replace(self.INFO, background_gate=gate)
        write_model(tmp_path / "model.pt", WEIGHTS, info)
        assert read_model(tmp_path / "model.pt")[1] == info
        assert info.gated == ((1,) if gate else ())

    def test_without_such_classes_nothing_is_said(self) -> None:
        assert "background" not in INFO.to_json() and INFO.gated == ()
        assert "background" not in replace(INFO, background_gate=False).to_json()

    @pytest.mark.parametrize("names", [("c",), ("a", "b"), ["b"]])
    def test_what_makes_no_sense_is_refused(self, names: Any) -> None:
        with pytest.raises(InputError, match="background_classes"):
            replace(INFO, background_classes=names)


def test_bits_are_told_only_where_not_all_count() -> None:
    assert "bits" not in INFO.to_json()
    deep = replace(INFO, bits=12)
    assert ModelInfo.from_json(deep.to_json(), "here") == deep
    for wrong in (7, 17, True, "12"):
        with pytest.raises(InputError, match="bits"):
            replace(INFO, bits=wrong)
