"""What a run depends on and is told by: its settings, its start, its size."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from scripts.active.methods import Method
from scripts.core.errors import Problem, StateError
from scripts.core.result_files import versions
from scripts.core.run_config import APART, RunConfig
from scripts.core.run_names import START, OutputFile, Phase, last_phase, run_folder
from scripts.data.run_data import RunData
from scripts.data.splits import patients_in_several_splits
from scripts.images.files.bit_depth import FULL
from scripts.networks.precision import computes_in_bfloat16
from scripts.networks.theta0 import Theta0
from scripts.state.reader import StateReader
from scripts.state.run_state import RunState
from scripts.state.settings_checks import shortened

HARMLESS = (
    "active#rounds", "active#budget", "active#max_overlays", "device", "num_workers", "amp", "features", "data",
    "oracle", "active#oracle", "threads", "precision",
)  # fmt: skip
"""Settings that may differ when a run is taken up again; people may take over from masks on disk, and the other way.

Tracking is no setting: its handlers are taken out of the config before (:mod:`scripts.report.tracking`).

The number of threads stays that of the run by itself (:func:`scripts.core.machine.threads.keep_threads`)."""

_SECTIONS = (
    "network_def", "loss", "optimizer", "lr_scheduler", "train", "validate", "mask_rule", "max_epochs", "epoch_length",
    "batch_size", "image_size", "freeze_classifier", "variants", "amp", "labelled_share", "device",
)  # fmt: skip
_HARMLESS_OF_BOXES = ("device", "limit_gb", "amp")
_KEPT = ("start", "count_validation", "protect_pseudo", "max_overlays", "rounds", "budget")


@dataclass(frozen=True)
class RunSettings:
    """The numbers and names of a run; those of the section ``active`` of the config.

    Attributes:
        method: name of its method.
        output_dir: folder of all runs; this one is ``<output_dir>/<method>_seed<seed>``.
        rounds: number of rounds, the initial draw included.
        initial_per_class: masks per class in round 0.
        query_per_class: masks per class in each later round.
        seed: draws, queries, order, augmentation.
        oracle: name of the oracle.
        start: name of what picks the images of round 0.
        budget: most masks in the run; None for no limit.
        protect_pseudo: published rule that keeps images with a pseudo-mask out of the query while others are left.
        count_validation: add the validation masks to the costs of every round; published they are free.
        stage0_dir: where theta0 is kept; None for ``stage0`` in ``output_dir``.
        stage0_seed: seed of stage 0, its own so that all runs share theta0.
        max_overlays: pictures per round.
        checkpoint_seconds: least time between two checkpoints of a training; 0 makes one at the end of every epoch.
    """

    method: str
    output_dir: str
    rounds: int
    initial_per_class: int
    query_per_class: int
    seed: int
    oracle: str = "simulated"
    start: str = "random"
    budget: int | None = None
    protect_pseudo: bool = True
    count_validation: bool = False
    stage0_dir: str | None = None
    stage0_seed: int = 0
    max_overlays: int = 4
    checkpoint_seconds: float = 30.0

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return run_folder(self.output_dir, self.method, self.seed)

    @property
    def stage0_folder(self) -> Path:
        """Folder of theta0."""
        return Path(self.stage0_dir) if self.stage0_dir else Path(self.output_dir) / OutputFile.STAGE_0


def training_overrides(config: RunConfig, method: Method) -> dict[str, Any]:
    """Return what the trainings of a run change in the config, by nested id."""
    changes = dict(method.overrides)
    if method.equal_steps:
        changes["max_epochs"] = 2 * int(changes.get("max_epochs", config["max_epochs"]))
    return changes


def background_weight(config: RunConfig, method: Method) -> float:
    """Return the loss weight of images of background classes in the trainings of a run; 0 leaves them out."""
    parser = config.parser(training_overrides(config, method))
    return float(parser.get_parsed_content("scale_seg_b")) if "scale_seg_b" in parser else 0.0


def stage0_overrides(config: RunConfig) -> dict[str, Any]:
    """Return what stage 0 changes in the config, as it stands there: it refers to objects of that training."""
    return config.get("active#stage0#overrides", {})


def stored_settings(config: RunConfig, data: RunData, settings: RunSettings) -> dict[str, Any]:
    """Return what the run depends on and the report shows, as JSON values."""
    raw = config["active"]
    return {
        "method": settings.method,
        "seed": settings.seed,
        "oracle": settings.oracle,
        "threads": torch.get_num_threads(),
        "precision": _precision(config),
        "classes": list(data.classes),
        "native_size": list(data.native_size()),
        "patients_in_several_splits": len(patients_in_several_splits(data.datalist.items)),
        "active": {
            "initial_per_class": settings.initial_per_class,
            "query_per_class": settings.query_per_class,
            "preset": raw.get("methods", {}).get(settings.method),
            "stage0": stage0_overrides(config),
            **{name: raw.get(name) for name in _KEPT},
            **_boxes(config, raw.get("methods", {}).get(settings.method), settings.oracle),
        },
        **_background(data),
        **({} if data.datalist.bits == FULL else {"bits": data.datalist.bits}),  # runs of earlier versions go on
        **config.with_references(_SECTIONS, APART),
    }


def _boxes(config: RunConfig, preset: Any, oracle: str) -> dict[str, Any]:
    """Return what makes masks of boxes in this run, as far as it is asked: it stands in no preset."""
    drawn = config["active"].get("oracles", {}).get(oracle) if oracle == "boxes" else None
    if drawn is None and "@box_model" not in str((preset or {}).get("chain")):
        return {}
    model = {key: value for key, value in config["box_model"].items() if key not in _HARMLESS_OF_BOXES}
    return {"box_model": model} | ({} if drawn is None else {"boxes": drawn})


def announcement(config: RunConfig, data: RunData, method: Method, settings: RunSettings, state: StateReader) -> str:
    """Return what a run will do, on what and at what cost, a line each."""
    counts = data.datalist.counts()
    epochs = training_overrides(config, method).get("max_epochs", config["max_epochs"])
    rounds = method.rounds or settings.rounds
    length = config["epoch_length"]
    each = f"x {length} steps" if isinstance(length, int) else "epochs"  # else an expression of a training's images
    steps = f"{method.cycles * rounds} trainings of {epochs} {each}"
    done = "the whole run; only the report is written again"
    lines = {
        "run": f"{settings.method}, seed {settings.seed}, in {settings.folder}",
        "data": f"{_sizes(counts)}; SHA-256 {data.datalist.sha256[:16]}",
        "budget": _budget(method, settings, rounds, len(data.drawable_classes), len(data.drawable("train"))),
        "cost": f"stage 0, then {steps} of {config['batch_size']} images",
        "device": f"{_device_name(_device(config))}, {_precision(config)}",
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
        **({"background": _free(data)} if data.background else {}),
        "done": done if is_finished(state, method, rounds) else _done_so_far(state),
    }
    width = max(9, *map(len, lines))
    return "\n".join(f"  {name:{width}s} {text}" for name, text in lines.items())


def is_finished(state: StateReader, method: Method, rounds: int) -> bool:
    """Tell whether all rounds of a run are done."""
    last = last_phase(method.propagation is not None)
    return all(state.is_done(index, last) for index in range(rounds))


def require_same_start(state: RunState, start: Theta0) -> None:
    """Refuse to go on from another theta0: the run's weights are stored as what differs from it.

    Raises:
        StateError: the run began with another one.
    """
    if not state.is_done(START, Phase.STAGE_0):
        state.commit(START, Phase.STAGE_0, seconds=start.seconds, rng={"theta0": start.sha256})
    elif (stored := state.rng(START, Phase.STAGE_0)["theta0"]) != start.sha256:
        cure = "Bring back the folder stage0 from a backup, or choose another output folder for a new run."
        raise StateError(
            Problem("theta0 is not the one the run started from", str(state.run_dir), stored, start.sha256, cure)
        )


def require_same_files(data: RunData) -> None:
    """Refuse to begin a round when an image or mask is no longer what the run read at its start.

    Raises:
        StateError: with the files that changed.
    """
    problems = data.datalist.watch.changed()
    if problems:
        raise StateError(shortened(problems))


def _sizes(counts: Mapping[str, Mapping[str, int]]) -> str:
    return "; ".join(
        f"{split} {sum(n.values())} ({', '.join(f'{label} {k}' for label, k in n.items())})"
        for split, n in counts.items()
    )


def _budget(method: Method, settings: RunSettings, rounds: int, classes: int, images: int) -> str:
    if method.cycles == 0:
        return "no masks"
    if method.label_all:
        return "all training masks"
    first = settings.initial_per_class * classes
    last = min(first + (rounds - 1) * settings.query_per_class * classes, images)
    if method.region is not None:  # an image has several windows
        last = first + (rounds - 1) * settings.query_per_class * classes
    first, last = (n if settings.budget is None else min(n, settings.budget) for n in (first, last))
    if method.region is not None:
        share = f"{100 * method.region.share:.0f} % of an image"
        return f"{first} masks first, at most {last - first} windows of {share} after {rounds} rounds"
    return f"{first} masks first, {last} after {rounds} rounds"


def _free(data: RunData) -> str:
    """Return what is said of classes without foreground."""
    count = len(data.items("train")) - len(data.drawable("train"))
    gate = "predicted, they leave nothing to draw" if data.background.gate else "no gate"
    return f"{', '.join(data.background_names)}: {count} training images cost no mask; {gate}"


def _done_so_far(state: StateReader) -> str:
    last = state.last()
    if last is None:
        return "nothing yet"
    return "stage 0" if last[0] < 0 else f"up to round {last[0]}, {last[1]}"


def _background(data: RunData) -> dict[str, Any]:
    """Return the classes without foreground, and whether predicting one leaves nothing to draw.

    Without such classes nothing is recorded, so that runs of earlier versions go on.
    """
    if not data.background:
        return {}
    return {"background_classes": list(data.background_names), "background_gate": data.background.gate}


def _device(config: RunConfig) -> str:
    return str(config.parser().get_parsed_content("device"))


def _precision(config: RunConfig) -> str:
    """Return in what trainings compute: figures of one precision are no exact repetition of another's."""
    reduced = computes_in_bfloat16(torch.device(_device(config)), config.get("amp", False))
    return "bfloat16" if reduced else "float32"


def _device_name(device: str) -> str:
    if device.startswith("cuda"):
        return f"{device}, {torch.cuda.get_device_name(device)}"
    return f"{device}, {platform.machine()}, {torch.get_num_threads()} threads"
