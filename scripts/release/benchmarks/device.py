"""Speed of training where it is computed: whole runs, the loop against the bare step, its kernels, several seeds.

``python -m scripts.release benchmark_device --dataset_dir FOLDER --json out.json`` is meant for a machine with an
NVIDIA GPU. On the CPU it measures the same, with patience or small numbers; rows of a GPU are then "not measured".
"""

from __future__ import annotations

import json as json_format
import logging
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser
from torch.profiler import ProfilerActivity, profile

from scripts.core.errors import InputError, Problem
from scripts.core.files import write_atomic
from scripts.core.run_config import RunConfig
from scripts.core.run_names import Phase
from scripts.data.demo.data_set import make_demo
from scripts.data.run_data import RunData, open_data
from scripts.networks.feature_bank import FeatureBank
from scripts.release.benchmarks.device_report import MARKERS, Measured, Plan, section
from scripts.release.benchmarks.report import insert_section, machine
from scripts.release.benchmarks.rounds import TRAIN_CONFIG
from scripts.state.reader import StateReader
from scripts.training.losses import LABELLED

logger = logging.getLogger(__name__)

_LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx", "cudaGraphLaunch")
_PROFILED = 5  # steps
_EPOCHS = 3  # of the loop; the first one fills memories and is not timed


def benchmark_device(
    dataset_dir: str = "",
    table: str | None = None,
    split_column: str = "split",
    device: str = "cuda",
    json: str = "",
    out: str = "docs/benchmarks.md",
    image_size: Sequence[int] = (256, 384),
    full_size: bool = True,
    rounds: int = 25,
    steps: int = 200,
    batch: int = 8,
    seeds: int = 4,
    threads: int = 0,
) -> None:
    """Measure, write the figures as JSON, and a section of them between the markers of a Markdown file.

    Args:
        dataset_dir: folder or table of a data set with masks and a split; the demo data where it is left out.
        table: the data set's table, where its name is not a usual one.
        split_column: column of the table with train/val/test.
        device: where to compute: cuda, cuda:1, cpu.
        json: file for all figures; none is written where it is left out.
        out: Markdown file; text outside the markers is kept.
        image_size: (H, W) of the network's input, in pixels.
        full_size: also measure at the median size of the images.
        rounds: of a run of ``label_prop``; 0 runs none.
        steps: per training of the run, and per timed epoch of the loop.
        batch: images per step.
        seeds: trainings at once; fewer than 2 measures none.
        threads: of torch on the CPU; 0 leaves them as they are.

    Raises:
        InputError: an argument or the data set cannot be used.
    """
    plan = Plan(device, rounds, steps, batch, seeds)
    size = _checked(plan, image_size)
    before = torch.get_num_threads()
    with ExitStack() as stack:
        if threads:
            torch.set_num_threads(threads)
            stack.callback(torch.set_num_threads, before)
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = dataset_dir or str(make_demo(place / "demo"))
        reading: dict[str, Any] = {"table": table, "split_column": split_column, "progress": False}
        sizes = [size]
        if full_size:
            sizes.append(open_data(folder, **reading).native_size())
        found = []
        for number, each in enumerate(sizes):
            changes = _changes(plan, each, place / str(number))
            found.append(_measured(plan, folder, reading, each, changes))
        about = machine(torch.device(device), "auto")
    results = {"machine": about, "plan": asdict(plan), "measured": [asdict(one) for one in found]}
    if json:
        write_atomic(Path(json), (json_format.dumps(results, indent=2) + "\n").encode())
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    old = path.read_text(encoding="utf-8") if path.is_file() else ""
    write_atomic(path, insert_section(old, section(about, plan, found), MARKERS).encode())
    logger.info("results are in %s", out)


def _measured(
    plan: Plan, folder: str, reading: Mapping[str, Any], size: tuple[int, int], changes: Mapping[str, Any]
) -> Measured:
    data = open_data(folder, image_size=size, **reading)
    seconds, training = timed_run(changes, data) if plan.rounds else (None, None)
    timed, step = timed_loop(changes, data)
    per_step = timed_steps(step, plan)
    top, launches = profiled(step, plan.device)
    together = None
    if plan.seeds > 1:
        together = seeds_at_once(plan.seeds, folder, reading, size, changes)
    images = plan.batch
    return Measured(size, seconds, training, images / timed, images / per_step, together, launches, top)


def timed_run(changes: Mapping[str, Any], data: RunData) -> tuple[float, float]:
    """Run stage 0 for one step and all rounds; return the seconds of the rounds, and of their trainings."""
    config = _config(changes, data)
    loop = config.parser(objects={"data": data, "config": config}).get_parsed_content("active#loop")
    loop.run()
    with StateReader.open(loop.folder) as state:
        phases = [state.seconds(number) for number in range(changes["active#rounds"])]
    trainings = sum(each.get(name, 0.0) for each in phases for name in (Phase.CYCLE_0, Phase.CYCLE_1))
    return sum(sum(each.values()) for each in phases), trainings


def timed_loop(
    changes: Mapping[str, Any], data: RunData, together: Callable[[], object] | None = None
) -> tuple[float, Callable[[], None]]:
    """Run the training loop of a run, features kept, without validations.

    Args:
        changes: of the config, by nested id.
        data: images of the run.
        together: called before the first epoch that is timed.

    Returns:
        the least seconds per step of an epoch, and a function that does the same step again on the tensors of one
        batch, which are on the device, with nothing around it.
    """
    items = [
        {**item, "mask": data.store.true_mask(item["id"]), "kind": LABELLED}
        for item in data.items("train")
        if item["mask"] is not None
    ][: changes["epoch_length"] * changes["batch_size"]]  # the first epoch sees each, so all features are kept then
    loop = {"max_epochs": _EPOCHS, "val_interval": _EPOCHS + 1, "variants": 1, "cycle#rounds": True}
    objects = {"data": data, "features": FeatureBank(limit_gb=16.0), "train#dataset#data": items}
    parser = _config(changes, data).parser(loop, objects)
    device = torch.device(parser.get_parsed_content("device"))
    parser.get_parsed_content("network").to(memory_format=torch.channels_last)
    trainer = parser.get_parsed_content("train#trainer")
    length: int = trainer.state.epoch_length
    marks: list[float] = []

    def mark(_: Engine) -> None:
        if together is not None and trainer.state.epoch == 2 and len(marks) == 2:
            together()
        _wait(device)
        marks.append(time.perf_counter())

    trainer.add_event_handler(Events.EPOCH_STARTED, mark)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(every=length), mark)
    trainer.run()
    epochs = [end - start for start, end in zip(marks[::2], marks[1::2], strict=True)][1:]
    batch = next(iter(trainer.data_loader))
    images, targets, _, kwargs = trainer.prepare_batch(batch, device, True)

    def step() -> None:
        recorded = trainer.graphed is not None and not trainer.graphed.failed
        if not recorded or trainer.graphed(images, targets, kwargs["keys"]) is None:
            trainer.optimizer.zero_grad()
            trainer.loss_function(trainer.inferer(images, trainer.network, **kwargs), targets).backward()
        trainer.optimizer.step()

    return min(epochs) / length, step


def timed_steps(step: Callable[[], None], plan: Plan) -> float:
    """Return the seconds per step of as many steps as an epoch has, at least of three such runs."""
    device, found = torch.device(plan.device), []
    for _ in range(3):
        _wait(device)
        started = time.perf_counter()
        for _ in range(plan.steps):
            step()
        _wait(device)
        found.append((time.perf_counter() - started) / plan.steps)
    return min(found)


def profiled(step: Callable[[], None], device: str) -> tuple[list[tuple[str, float]], float | None]:
    """Return the ten kernels (on the CPU: operators) with most ms per step, and the launches per step."""
    cuda = device.startswith("cuda")
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as found:
        for _ in range(_PROFILED):
            step()
        _wait(torch.device(device))
    events = found.key_averages()
    spent = {e.key: (e.self_device_time_total if cuda else e.self_cpu_time_total) / 1000 / _PROFILED for e in events}
    top = sorted(spent.items(), key=lambda pair: -pair[1])[:10]
    launches = sum(event.count for event in events if event.key in _LAUNCHES) / _PROFILED
    return top, launches if cuda else None


def seeds_at_once(
    count: int, folder: str, reading: Mapping[str, Any], size: tuple[int, int], changes: Mapping[str, Any]
) -> float:
    """Return the images per second of all together of trainings that run at once, a process each."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(count) as pool:
        barrier = manager.Barrier(count)
        tasks = [
            (folder, dict(reading), size, {**changes, "active#seed": seed}, barrier, torch.get_num_threads())
            for seed in range(count)
        ]
        rates = pool.starmap(_one_of_several, tasks, chunksize=1)
        pool.close()
        pool.join()
    return sum(rates)


def _one_of_several(
    folder: str, reading: dict[str, Any], size: tuple[int, int], changes: dict[str, Any], barrier: Any, threads: int
) -> float:
    logging.disable(logging.INFO)
    torch.set_num_threads(threads)
    seconds, _ = timed_loop(changes, open_data(folder, image_size=size, **reading), lambda: barrier.wait(600))
    return changes["batch_size"] / seconds


def _config(changes: Mapping[str, Any], data: RunData) -> RunConfig:
    parser = ConfigParser(ConfigParser.load_config_files(str(TRAIN_CONFIG)))
    for name, value in {**changes, "num_classes": len(data.classes)}.items():
        parser[name] = value
    return RunConfig(parser.get())


def _changes(plan: Plan, size: tuple[int, int], place: Path) -> dict[str, Any]:
    return {
        "output_dir": str(place), "device": plan.device, "image_size": list(size), "batch_size": plan.batch,
        "max_epochs": 1, "epoch_length": plan.steps, "val_interval": 1, "active#rounds": plan.rounds,
        "active#initial_per_class": 4, "active#max_overlays": 0,
        "active#stage0#overrides#max_epochs": 1, "active#stage0#overrides#epoch_length": 1,
    }  # fmt: skip


def _checked(plan: Plan, image_size: Any) -> tuple[int, int]:
    least = {"rounds": 0, "steps": 1, "batch": 1, "seeds": 0}
    problems = [
        Problem("not a count", f"--{name}", f"at least {lowest}", str(getattr(plan, name)))
        for name, lowest in least.items()
        if not isinstance(getattr(plan, name), int) or getattr(plan, name) < lowest
    ]
    size = tuple(image_size) if isinstance(image_size, list | tuple) else ()
    if len(size) != 2 or not all(isinstance(side, int) and side >= 32 for side in size):
        problems.append(Problem("not a size", "--image_size", "height,width of at least 32 pixels", str(image_size)))
    if plan.device.startswith("cuda") and not torch.cuda.is_available():
        problems.append(Problem("no such device", "--device", found=plan.device, cure="Use --device cpu."))
    if problems:
        raise InputError(problems)
    return size[0], size[1]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
