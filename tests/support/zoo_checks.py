"""What MONAI's own tools and the checks of its model zoo ask of a bundle, run on an unpacked one by its own process.

``python zoo_checks.py BUNDLE DATASET FOLDER [SCHEMA]`` prints ``{"check": null, or what failed}`` as JSON, on the last
line. The process has the bundle's code, not the repository's. In our words; the zoo's are in its ``ci/``.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from monai.bundle import (
    ConfigWorkflow,
    ckpt_export,
    download_large_files,
    load,
    verify_metadata,
    verify_net_in_out,
)

SMALL: dict[str, Any] = {"demo": None, "image_size": [64, 64], "network_def#pretrained": False}


class Bundle:
    """One unpacked bundle; every method named ``check_...`` is a check."""

    def __init__(self, root: Path, dataset: Path, folder: Path, schema: Path | None) -> None:
        self.root, self.dataset, self.folder, self.schema = root, dataset, folder, schema
        self.metadata = json.loads((root / "configs" / "metadata.json").read_text())
        inference = root / "configs" / "inference.json"
        self.inference = inference if inference.is_file() else None

    def check_files(self) -> None:
        """The zoo's minimum: required files; those that it prefers are there too."""
        for name in ("configs/metadata.json", "LICENSE", "models/model.pt", "large_files.yml", "docs/README.md"):
            assert (self.root / name).is_file(), name
        assert not [path for path in self.root.rglob("*") if path.is_symlink() or path.name == "__pycache__"]

    def check_version(self) -> None:
        """The zoo's minimum: the version has an entry in the changelog."""
        assert self.metadata["version"] in self.metadata["changelog"]

    def check_requirements(self) -> None:
        """The zoo installs ``package==version`` of each entry; so it must be what is installed here."""
        named = {"monai": "monai_version", "torch": "pytorch_version", "numpy": "numpy_version"}
        pins = {name: self.metadata[key] for name, key in named.items()} | self.metadata["required_packages_version"]
        for name, version in pins.items():
            assert importlib.metadata.version(name).split("+")[0] == version, name

    def check_large_files(self) -> None:
        """The zoo's minimum: the list can be fetched; it is empty, so nothing is."""
        if importlib.util.find_spec("yaml") is not None:
            download_large_files(bundle_path=str(self.root))

    def check_metadata(self) -> None:
        """The zoo's minimum: metadata follow the schema. MONAI does not download a file that is there."""
        if self.schema is not None:
            path = shutil.copyfile(self.schema, self.folder / "schema.json")
            verify_metadata(meta_file=str(self.root / "configs" / "metadata.json"), filepath=str(path))

    def check_network(self) -> None:
        """The zoo in full: shape and type of the network's output are those of the metadata."""
        verify_net_in_out(
            net_id="network_def", meta_file=str(self.root / "configs" / "metadata.json"),
            config_file=str(self.inference or self.root / "configs" / "train.json"), device="cpu", n=2,
        )  # fmt: skip

    def check_export(self) -> None:
        """The zoo in full: TorchScript by ``script``, not by tracing, into ``models/model.ts``, which can be loaded."""
        config = self.inference or self.root / "configs" / "train.json"
        ckpt_export(config_file=str(config), bundle_root=str(self.root))
        found = torch.jit.load(self.root / "models" / "model.ts").state_dict()  # and buffers that are not weights
        weights = torch.load(self.root / "models" / "model.pt", weights_only=True)
        assert all(torch.equal(value, found[name]) for name, value in weights.items())

    def check_load(self) -> None:
        """``monai.bundle.load`` gives the network with the released weights."""
        network: Any = load(self.root.name, bundle_dir=str(self.root.parent), device="cpu", source="github")
        weights = torch.load(self.root / "models" / "model.pt", weights_only=True)
        assert Path(sys.modules[type(network).__module__].__file__ or "").is_relative_to(self.root)
        assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())

    def check_train_properties(self) -> None:
        """Every property that MONAI knows of a training."""
        self._properties("train", self.root / "configs" / "train.json", SMALL)

    def check_inference_properties(self) -> None:
        """Every property that MONAI knows of a prediction."""
        if self.inference is not None:
            self._properties("infer", self.inference, {})

    def _properties(self, kind: str, config: Path, changes: dict[str, Any]) -> None:
        workflow = ConfigWorkflow(
            config_file=str(config), workflow_type=kind, logging_file=False, bundle_root=str(self.root),
            dataset_dir=str(self.dataset), output_dir=str(self.folder / kind), **changes,
        )  # fmt: skip
        workflow.initialize()
        assert workflow.check_properties() == []
        workflow.finalize()


def outcome(check: Callable[[], None]) -> str | None:
    """Return what a check fails with, or None."""
    try:
        check()
    except Exception:  # noqa: BLE001 - one failing check must not hide the others
        return traceback.format_exc(limit=-4)
    return None


def main() -> None:
    """Run all checks."""
    root, dataset, folder, *schema = map(Path, sys.argv[1:])
    sys.path.insert(0, str(root))  # a bundle with code of its own must be on the path before it is loaded by name
    bundle = Bundle(root, dataset, folder, schema[0] if schema else None)
    names = [name for name in dir(bundle) if name.startswith("check_")]
    found = {name.removeprefix("check_"): outcome(getattr(bundle, name)) for name in names}
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
