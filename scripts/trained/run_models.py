"""Models out of a run: that of a round, and the one the run starts from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.core.errors import InputError, Problem
from scripts.core.run_names import SELECTION, START, Metric, OutputFile, Phase, selection_metric, weights_artifact
from scripts.networks.model_file import DEFAULT_THRESHOLD, ModelInfo
from scripts.networks.theta0 import find_theta0
from scripts.networks.weights import Weights, unpack_weights
from scripts.state.reader import StateReader


def weights_of_round(
    state: StateReader, index: int, theta: Weights, last_cycle: int | None = None
) -> tuple[Weights, str | None]:
    """Return the weights of the best validation over a round's cycles (the later of equals), and their blob's name.

    Args:
        state: of the run.
        index: the round.
        theta: theta0, from which the stored weights differ; returned itself, with None, where no cycle was trained.
        last_cycle: the last cycle that counts; None for all that were trained.
    """
    metrics = state.metrics(index).get(index, {})
    cycles = [int(name.removeprefix(SELECTION)) for name in metrics if name.startswith(SELECTION)]
    scored = [(metrics[selection_metric(c)], c) for c in cycles if last_cycle is None or c <= last_cycle]
    if not scored:
        return theta, None
    blob = state.artifact(index, weights_artifact(max(scored)[1]))
    return unpack_weights(state.read_blob(blob), theta, str(state.blob_path(blob))), blob


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
    with StateReader.open(folder) as state:
        evaluated = [at for at in sorted(state.metrics()) if at >= 0 and state.is_done(at, Phase.EVALUATE)]
        chosen = evaluated[-1] if round is None and evaluated else round
        if chosen is None or chosen not in evaluated:
            found = f"round {chosen}" if chosen is not None else "no round"
            listed = ", ".join(map(str, evaluated)) or "none yet"
            raise InputError(Problem("round was not evaluated", str(folder), f"one of: {listed}", found))
        settings, metrics = state.settings(), state.metrics(chosen)[chosen]
        sha256 = state.rng(START, Phase.STAGE_0)["theta0"]
        theta = find_theta0(Path(stage0_dir) if stage0_dir else folder.parent / OutputFile.STAGE_0, sha256)
        weights, blob = weights_of_round(state, chosen, theta)
        split_of = {image.sha256: image.split for image in state.images()}
        data_sha256 = state.data_sha256()
    preset = settings.get("active", {}).get("preset") or {}
    source = "cam" if preset.get("cycles", 1) == 0 else "decoder"
    info = _described(
        folder, settings, metrics.get(Metric.THRESHOLD, DEFAULT_THRESHOLD), source,
        round=chosen, masks=int(metrics.get(Metric.MASKS, 0)), weights=blob or "theta0", theta0_sha256=sha256,
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
    with StateReader.open(folder) as state:
        if not state.is_done(START, Phase.STAGE_0):
            raise InputError(Problem("stage 0 is not done", str(folder), "a run that has begun its rounds"))
        settings, sha256, data_sha256 = state.settings(), state.rng(START, Phase.STAGE_0)["theta0"], state.data_sha256()
    weights = find_theta0(Path(stage0_dir) if stage0_dir else folder.parent / OutputFile.STAGE_0, sha256)
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
        background_classes=tuple(settings.get("background_classes", ())),
        background_gate=settings.get("background_gate", True),
        bits=settings.get("bits", 16),
        provenance={
            "run": folder.name,
            "method": settings.get("method"),
            "seed": settings.get("seed"),
            **_geometry(settings),
            **provenance,
        },
    )


def _plain(value: Any, settings: Mapping[str, Any]) -> Any:
    if isinstance(value, str) and value.startswith("@") and value[1:] in settings:
        return settings[value[1:]]
    return value


def _geometry(settings: Mapping[str, Any]) -> dict[str, str]:
    """Name the geometry of a run whose network does not see images as they are stored."""
    name = str((settings.get("geometry") or {}).get("_target_", ""))
    return {} if not name or name.endswith(".PlainGeometry") else {"geometry": name.rpartition(".")[2]}
