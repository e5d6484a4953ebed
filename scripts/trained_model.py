"""A trained model ready for use: network on its device, threshold, classes, image size, and where they come from.

Whoever predicts or evaluates asks :func:`load_model`, which takes a round of a run or a model file. Settings and
descriptions in them are data: only known network classes are built from them, and nothing in them is evaluated.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from pydoc import locate
from typing import Any

import torch
from torch import nn

from scripts.errors import InputError, Problem, StateError
from scripts.evaluation import DEFAULT_THRESHOLD
from scripts.model_file import ModelInfo, is_described, read_model
from scripts.rng import isolated_rng
from scripts.round_context import weights_of_round
from scripts.state import RunState
from scripts.training import Weights, unpack_weights

logger = logging.getLogger(__name__)

NETWORKS = ("scripts.networks.JointNet", "scripts.published_network.PublishedNet")
"""Networks that a file may name; another one must be the network of the config, which is trusted."""


@dataclass(frozen=True)
class TrainedModel:
    """A model in eval mode.

    Attributes:
        network: on ``device``; see :mod:`scripts.joint_network`.
        device: where it is.
        info: threshold, classes, image size, provenance (:class:`scripts.model_file.ModelInfo`).
        split_of: SHA-256 of an image file -> split in the run that trained the model; empty where it is not known.
    """

    network: nn.Module
    device: torch.device
    info: ModelInfo
    split_of: Mapping[str, str] = field(default_factory=dict)


def load_model(
    output_dir: Path | str,
    device: torch.device | str = "cpu",
    run: str | None = None,
    round: int | None = None,
    ckpt: Path | str | None = None,
    threshold: float | None = None,
    stage0_dir: Path | str | None = None,
    network: str = NETWORKS[0],
) -> TrainedModel:
    """Return the model of a round of a run, or of a file.

    Args:
        output_dir: folder of runs, or one run's own folder.
        device: where the network goes.
        run: name of the run's folder in ``output_dir``; None for the only one there.
        round: None for the last one that was evaluated.
        ckpt: model file (:mod:`scripts.model_file`) instead of a run.
        threshold: in [0, 1], instead of the stored one.
        stage0_dir: where theta0 is kept; None for ``stage0`` beside the run.
        network: ``_target_`` of the config's network, which may be built besides :data:`NETWORKS`.

    Raises:
        InputError: no such run, round or file; a network that must not or cannot be built; weights of another network.
        StateError: the state or a file of the run is missing or damaged.
    """
    if ckpt is not None:
        if run is not None or round is not None:
            raise InputError(Problem("a file and a run are named", "ckpt", "one of both", f"{ckpt}, {run}, {round}"))
        weights, info = read_model(ckpt)
        if not is_described(weights, info):
            logger.warning("%s: the weights are not those of its description; threshold and origin may not fit", ckpt)
        info = replace(info, provenance={"file": Path(ckpt).name, **info.provenance})
        split_of: dict[str, str] = {}
    else:
        weights, info, split_of = read_run(find_run(output_dir, run), round, stage0_dir)
    if threshold is not None:
        info = replace(info, threshold=threshold)
    device = torch.device(device)
    ready = build_network(info, weights, device, {*NETWORKS, network})
    logger.info("model: %s, threshold %.4g", ", ".join(f"{k} {v}" for k, v in _shown(info).items()), info.threshold)
    return TrainedModel(ready, device, info, split_of)


def find_run(output_dir: Path | str, run: str | None = None) -> Path:
    """Return the folder of a run; see :func:`load_model`.

    Raises:
        InputError: there is none, or several and ``run`` does not tell which.
    """
    folder = Path(output_dir)
    if run is not None:
        if Path(run).name != run or not (folder / run / "state.sqlite").is_file():
            raise InputError(Problem("no such run", str(folder), ", ".join(_runs(folder)) or "a run in there", run))
        return folder / run
    if (folder / "state.sqlite").is_file():
        return folder
    names = _runs(folder)
    if len(names) != 1:
        cure = "Name one with --model#run NAME." if names else "Name a folder of runs with --output_dir, or a --ckpt."
        raise InputError(Problem("which run is not clear", str(folder), "one run", ", ".join(names) or "none", cure))
    return folder / names[0]


def read_run(
    folder: Path, round: int | None = None, stage0_dir: Path | str | None = None
) -> tuple[Weights, ModelInfo, dict[str, str]]:
    """Return weights, description and the splits of the images (by SHA-256) of a run's round.

    The weights are those the run itself evaluated: of its cycle with the best validation.

    Args:
        folder: of the run; it is only read, also while the run goes on.
        round: None for the last one that was evaluated.
        stage0_dir: None for ``stage0`` beside the run.

    Raises:
        InputError: the round was not evaluated; a setting of the network is an expression.
        StateError: see :func:`load_model`.
    """
    with RunState.open(folder, readonly=True) as state:
        evaluated = [at for at in sorted(state.metrics()) if at >= 0 and state.done(at, "evaluate")]
        chosen = evaluated[-1] if round is None and evaluated else round
        if chosen is None or chosen not in evaluated:
            found = f"round {chosen}" if chosen is not None else "no round"
            listed = ", ".join(map(str, evaluated)) or "none yet"
            raise InputError(Problem("round was not evaluated", str(folder), f"one of: {listed}", found))
        settings, metrics = state.settings(), state.metrics(chosen)[chosen]
        sha256 = state.rng(-1, "stage0")["theta0"]
        theta = _theta0(Path(stage0_dir) if stage0_dir else folder.parent / "stage0", sha256)
        weights, blob = weights_of_round(state, chosen, theta)
        split_of = {image.sha256: image.split for image in state.images()}
        data_sha256 = state.data_sha256()
    preset = settings.get("active", {}).get("preset") or {}
    source = "cam" if preset.get("cycles", 1) == 0 else "decoder"
    info = _described(
        folder, settings, metrics.get("threshold", DEFAULT_THRESHOLD), source,
        round=chosen, masks=int(metrics.get("masks", 0)), weights=blob or "theta0", theta0_sha256=sha256,
        data_sha256=data_sha256,
    )  # fmt: skip
    return weights, info, split_of


def read_start(folder: Path, stage0_dir: Path | str | None = None) -> tuple[Weights, ModelInfo]:
    """Return weights and description of the model that a run starts from: theta0, whose masks are the classifier's.

    Args:
        folder: of a run whose stage 0 is done; it is only read.
        stage0_dir: None for ``stage0`` beside the run.

    Raises:
        InputError: stage 0 is not done; a setting of the network is an expression.
        StateError: see :func:`load_model`.
    """
    with RunState.open(folder, readonly=True) as state:
        if not state.done(-1, "stage0"):
            raise InputError(Problem("stage 0 is not done", str(folder), "a run that has begun its rounds"))
        settings, sha256, data_sha256 = state.settings(), state.rng(-1, "stage0")["theta0"], state.data_sha256()
    weights = _theta0(Path(stage0_dir) if stage0_dir else folder.parent / "stage0", sha256)
    return weights, _described(folder, settings, DEFAULT_THRESHOLD, "cam", round=None, masks=0, weights="theta0",
                               theta0_sha256=sha256, data_sha256=data_sha256)  # fmt: skip


def network_settings(settings: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``_target_`` and arguments of a run's network as plain values.

    Args:
        settings: of a run; ``"@name"`` in ``network_def`` stands for the value of ``name`` there.
        overrides: of the run's method by nested id; those of ``network_def`` count.

    Raises:
        InputError: a value is an expression or refers to one.
    """
    section = dict(settings["network_def"])
    for name, value in overrides.items():
        owner, _, argument = name.replace("::", "#").partition("#")
        if owner == "network_def" and argument:
            section[argument] = value
    found = {name: _plain(value, settings) for name, value in section.items()}
    problems = [
        Problem("a setting of the network is an expression", f"network_def#{name}", "a plain value", str(value),
                "Write the model with its plain values as a file, and name that with --ckpt.")
        for name, value in found.items()
        if isinstance(value, str) and value[:1] in ("$", "@", "%")
    ]  # fmt: skip
    if problems:
        raise InputError(problems)
    return found


def build_network(info: ModelInfo, weights: Weights, device: torch.device, allowed: set[str]) -> nn.Module:
    """Return the described network with its weights, on ``device`` and in eval mode.

    Args:
        info: names the network.
        weights: its state dict.
        device: where it goes.
        allowed: dotted names of the classes that may be built.

    Raises:
        InputError: another class, arguments it does not take, or weights that do not fit.
    """
    arguments = {name: value for name, value in info.network.items() if not name.startswith("_")}
    target = info.network["_target_"]
    if target not in allowed:
        cure = "Only a network of the project, or the one of the config (network_def), is built from a file."
        raise InputError(
            Problem("network of the model is not known", "_target_", ", ".join(sorted(allowed)), target, cure)
        )
    kind: Any = locate(target)
    try:
        with isolated_rng(0, device):  # the initial weights are overwritten
            network: nn.Module = kind(**{**arguments, "pretrained": False})
        network.load_state_dict(weights)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(Problem("model does not fit its network", target, found=str(error)[:500])) from error
    return network.to(device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]


def _described(
    folder: Path, settings: Mapping[str, Any], threshold: float, mask_from: str, **provenance: Any
) -> ModelInfo:
    """Return the description of a model of a run with these settings."""
    preset = settings.get("active", {}).get("preset") or {}
    return ModelInfo(
        network=network_settings(settings, preset.get("overrides") or {}),
        classes=tuple(settings["classes"]),
        image_size=None if settings.get("image_size") is None else tuple(settings["image_size"]),
        native_size=None if settings.get("native_size") is None else tuple(settings["native_size"]),
        threshold=threshold,
        mask_from=mask_from,
        provenance={
            "run": folder.name,
            "method": settings.get("method"),
            "seed": settings.get("seed"),
            **provenance,
        },
    )


def _theta0(folder: Path, sha256: str) -> Weights:
    """Return the weights of stage 0 whose file has the hash; the runs of a folder share few of them."""
    for record in sorted(folder.glob("*.json")):
        try:
            if json.loads(record.read_bytes()).get("sha256") == sha256:
                content = record.with_suffix(".pt").read_bytes()
                break
        except (OSError, ValueError, AttributeError) as error:
            raise StateError(Problem("stage 0 cannot be read", str(record), found=str(error))) from error
    else:
        cure = "Bring back the folder stage0 from a backup: the weights of the rounds are stored as what differs."
        raise StateError(Problem("stage 0 of the run is missing", str(folder), f"SHA-256 {sha256}", cure=cure))
    return unpack_weights(_checked(content, sha256, record.with_suffix(".pt")), where=str(folder))


def _checked(content: bytes, sha256: str, path: Path) -> bytes:
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise StateError(Problem("theta0 is damaged", str(path), f"SHA-256 {sha256}", found))
    return content


def _plain(value: Any, settings: Mapping[str, Any]) -> Any:
    if isinstance(value, str) and value.startswith("@") and value[1:] in settings:
        return settings[value[1:]]
    return value


def _runs(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.glob("*/state.sqlite"))


def _shown(info: ModelInfo) -> dict[str, Any]:
    return {name: info.provenance[name] for name in ("file", "run", "round", "masks") if name in info.provenance}
