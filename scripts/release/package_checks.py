"""What must hold of a package: all files there, all of them readable, and everything that names another one right."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from scripts.core.errors import Problem, UserError
from scripts.networks.model_file import NETWORKS, ModelInfo, build_network, is_described
from scripts.networks.weights import unpack_weights

Content = Mapping[str, bytes]
"""Files of a package by their path in it."""

METADATA = "configs/metadata.json"
MODEL = "models/model.pt"
DESCRIPTION = "models/model.json"
LARGE_FILES = "large_files.yml"
LARGEST = 25_000_000
"""Bytes of a file that MONAI's model zoo takes."""
REQUIRED = (
    "LICENSE",
    METADATA,
    "configs/train.json",
    "configs/evaluate.json",
    "configs/inference.json",
    "configs/logging.conf",
    "docs/README.md",
    LARGE_FILES,
    MODEL,
    DESCRIPTION,
    "requirements.txt",
    "scripts/__init__.py",
)
REQUIRED_KEYS = (
    "schema", "name", "version", "changelog", "monai_version", "pytorch_version", "numpy_version",
    "required_packages_version", "task", "description", "authors", "copyright", "network_data_format", "intended_use",
    "data_source",
)  # fmt: skip
NAMED_PACKAGES = {"monai": "monai_version", "torch": "pytorch_version", "numpy": "numpy_version"}


def problems_of(content: Content) -> list[Problem]:
    """Return everything that is wrong with a package; an empty list means that it can be shipped."""
    problems = [Problem("file is missing", name) for name in REQUIRED if name not in content]
    for name, data in content.items():
        if len(data) > LARGEST:
            cure = f"Publish it elsewhere and list it in {LARGE_FILES}."
            problems.append(Problem("file is too large", name, f"{LARGEST} bytes at most", f"{len(data)}", cure))
    configs: dict[str, Any] = {}
    for name in content:
        if name.startswith("configs/") and name.endswith(".json"):
            try:
                configs[name] = json.loads(content[name])
            except ValueError as error:
                problems.append(Problem("config is not JSON", name, found=str(error)))
    problems += _metadata_problems(configs.get(METADATA), content)
    problems += _target_problems(configs, content)
    problems += _link_problems(content)
    problems += _model_problems(content)
    problems += _large_problems(content)
    return problems


def listed_as_large(content: Content) -> list[str]:
    """Return the paths that ``large_files.yml`` lists; none if it cannot be read, which :func:`problems_of` tells."""
    return [entry["path"] for entry in _large_entries(content) or [] if isinstance(entry.get("path"), str)]


def _metadata_problems(metadata: Any, content: Content) -> Iterator[Problem]:
    if not isinstance(metadata, dict):
        return
    missing = [key for key in REQUIRED_KEYS if not metadata.get(key)]
    if missing:
        yield Problem("metadata are not complete", METADATA, ", ".join(missing))
    if metadata.get("version") not in metadata.get("changelog", {}):
        yield Problem("version is not in the changelog", METADATA, f"an entry {metadata.get('version')}")
    known = {package: metadata.get(key) for package, key in NAMED_PACKAGES.items()}
    known |= metadata.get("required_packages_version", {})
    lines = content.get("requirements.txt", b"").decode().splitlines()
    pins = dict(line.split("==", 1) for line in lines if "==" in line and not line.startswith("#"))
    if known != pins and pins:
        differ = sorted(name for name in known | pins if known.get(name) != pins.get(name))
        yield Problem("versions differ from requirements.txt", METADATA, "the same of each package", ", ".join(differ))


def _target_problems(configs: Mapping[str, Any], content: Content) -> Iterator[Problem]:
    """Every ``scripts.module.name`` that a config names must have its module in the package."""
    for name, config in configs.items():
        for module in sorted(set(re.findall(r"\"(scripts(?:\.[a-z_0-9]+)+)\.\w+\"", json.dumps(config)))):
            if module.replace(".", "/") + ".py" not in content:
                yield Problem("config names a module that is not there", name, f"{module.replace('.', '/')}.py")


def _link_problems(content: Content) -> Iterator[Problem]:
    """Every relative link of a page must lead to a file of the package."""
    for name, data in content.items():
        if name.startswith("docs/") and name.endswith(".md"):
            pages = re.sub(r"^```.*?^```", "", data.decode(), flags=re.MULTILINE | re.DOTALL)
            for link in re.findall(r"\]\(([^)\s#]+)[^)\s]*\)", pages):
                target = posixpath.normpath(posixpath.join(posixpath.dirname(name), link))
                if "://" not in link and target not in content:
                    yield Problem("link leads nowhere in the package", name, target, link)


def _model_problems(content: Content) -> Iterator[Problem]:
    if MODEL not in content or DESCRIPTION not in content:
        return
    try:
        weights = unpack_weights(content[MODEL], where=MODEL)
        info = ModelInfo.from_json(content[DESCRIPTION].decode(), DESCRIPTION)
        build_network(info, weights, torch.device("cpu"), set(NETWORKS))
    except UserError as error:
        yield from error.problems
        return
    if not is_described(weights, info):
        cure = "Write both with python -m scripts.release model, or take back the released model."
        yield Problem("weights are not those of their description", MODEL, f"those of {DESCRIPTION}", cure=cure)


def _large_problems(content: Content) -> Iterator[Problem]:
    entries = _large_entries(content)
    if entries is None and LARGE_FILES in content:
        yield Problem("list of large files cannot be read", LARGE_FILES, 'JSON with a list "large_files"')
    for entry in entries or []:
        if not all(isinstance(entry.get(key), str) and entry[key] for key in ("path", "url", "hash_type", "hash_val")):
            yield Problem("large file is not described", LARGE_FILES, "path, url, hash_type, hash_val", str(entry))


def _large_entries(content: Content) -> list[dict[str, Any]] | None:
    try:
        entries = json.loads(content.get(LARGE_FILES, b""))["large_files"]
    except (ValueError, TypeError, KeyError):
        return None
    return entries if isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries) else None
