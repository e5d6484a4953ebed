"""Kills real runs at named and at random moments, gives the same command again, and compares with a run left alone.

    python -m tests.support.kill_harness --full --random 30 --out table.md
    python -m tests.support.kill_harness --short
    python -m tests.support.kill_harness --at "round 0 pseudo: inside the transaction"

A trial is a child of a process that has imported everything once, and does what ``python -m monai.bundle run`` does;
two further trials start that command itself. What has to be equal: ids and order of the queries, masks, pseudo-masks,
weights by their hashes, metrics to 1e-6, and the curve. Nothing that was committed before the kill may be missing after
it, and no temporary file may be left.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a fork spoils a pool of threads

import argparse
import random
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch._dynamo  # the first optimizer imports it, a second that each child would pay

from tests.support.kill_compare import Outcome, compare, leftovers, lost_bytes, outcome, stored
from tests.support.kill_points import Moments, install

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "bundle/configs/train.json"
RUN = "label_prop_seed0"
MAPS = "scripts.active.scores.pixel_maps"
SMALL = {
    "device": "cpu",
    "demo#n_train": 8, "demo#n_val": 2, "demo#n_test": 2, "demo#size": [64, 64],
    "image_size": [64, 64], "batch_size": 2, "max_epochs": 2, "epoch_length": 2, "val_interval": 1, "variants": 2,
    "network_def#pretrained": False, "network_def#decoder_channels": [8] * 5, "network_def#dropout": 0.2,
    "active#rounds": 2, "active#initial_per_class": 1, "active#max_overlays": 0, "active#protect_pseudo": False,
    "active#stage0#overrides#max_epochs": 2, "active#stage0#overrides#epoch_length": 2,
    # One run has it all: two trainings per round, pseudo-masks that are carried over, queries by dropout noise.
    "active#methods#label_prop#carry": True, "active#methods#label_prop#passes": 2,
    "active#methods#label_prop#strategy#_target_": "scripts.active.strategies.by_score.highest_score",
    "active#methods#label_prop#score": {"_target_": f"{MAPS}.mc_variance", "_mode_": "callable"},
}  # fmt: skip
KILLED_AT = (
    ".png half written", ".csv half written", ".json half written", ".pt half written", ".html half written",
    "data.csv complete under its temporary name", ".pt complete under its temporary name",
    "training.ckpt not yet written", ".ckpt half written", ".ckpt renamed, folder not synced", "training.ckpt written",
    ".pt renamed, folder not synced", "theta0.pt written", "theta0.json renamed, folder not synced",
    "state.sqlite complete under its temporary name", "state made, empty",
    "before commit", "inside the transaction", "after commit", "before step 1", "before step 4",
    "epoch 1 done, not validated", "epoch 1 validated", "stage 0: start", "report: start",
    "end, not in the state yet", "end, before the run says so", "an image is predicted (2)",
)  # fmt: skip
"""Ends of the moments at which the full form kills: each kind of change on the disk and in memory."""

KILLED_AT_LATER = (
    "half written", "inside the transaction", "after commit", "before step 4", "epoch 1 validated",
    "an image is predicted (2)", "report: start",
)  # fmt: skip
"""The same for the round after the first, which goes the same ways from another state."""

SHORT = (
    ("stage 0", "epoch 1 validated"), ("round 0 oracle", "half written"), ("round 0 cycle0", "before step 4"),
    ("round 1 pseudo", "inside the transaction"), ("round 1 cycle1", "before commit"),
)  # fmt: skip
"""Phase and end of the moments at which the short form kills."""


@dataclass(frozen=True)
class Trial:
    """One killed run and what became of it.

    Attributes:
        name: where it was killed.
        kills: how many kills hit.
        differences: what differs from the run left alone; empty when equal.
        lost: bytes that were committed before a kill and are missing after.
        repeated: optimisation steps done twice because of the kill.
    """

    name: str
    kills: int
    differences: list[str]
    lost: int
    repeated: int


def command(output: Path, extra: Sequence[str] = ()) -> list[str]:
    """Arguments of ``python -m monai.bundle`` for the small run in ``output``."""
    values = {"output_dir": str(output), **SMALL}
    options = [f"--{key}={value}" for key, value in values.items()]
    return ["run", "training", "--config_file", CONFIG, *options, *extra]


def start(work: Path, extra: Sequence[str], fatal: str | None = None, trace: Path | None = None) -> int:
    """Fork a child that runs the command in ``work / "out"``; return its process id."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        with open(work / "log.txt", "ab", buffering=0) as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        os.chdir(ROOT)
        install(Moments(trace, fatal, work / "steps"))
        sys.argv = ["monai.bundle", *command(work / "out", extra)]
        runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException as error:  # noqa: BLE001 - a child must not go on with the parent's work
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def end(process: int) -> int:
    """Wait for a child and return its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


class Harness:
    """Trials that are compared with one run left alone.

    Args:
        folder: where the runs go.
        extra: further arguments of every command.
    """

    def __init__(self, folder: Path, extra: Sequence[str] = ()) -> None:
        self.folder, self.extra = folder, list(extra)
        work = self._work("reference")
        began = time.monotonic()
        if end(start(work, self.extra, trace=work / "trace")) != 0:
            raise RuntimeError(f"the run left alone failed: {(work / 'log.txt').read_text()[-3000:]}")
        self.seconds = time.monotonic() - began
        self.moments = (work / "trace").read_text().splitlines()
        self.reference: Outcome = outcome(work / "out", RUN)
        self.steps = (work / "steps").stat().st_size

    def named(self, name: str, *fatal: str) -> Trial:
        """Kill at each of ``fatal`` in turn, the later ones while the run is taken up, then let it end."""
        return self._trial(name, [lambda work, at=at: end(start(work, self.extra, at)) for at in fatal])

    def random(self, name: str, after: float) -> Trial:
        """Kill after so many seconds, wherever the run is; earlier where it ends before that."""

        def kill(work: Path, seconds: float) -> int:
            process = start(work, self.extra)
            time.sleep(seconds)
            os.kill(process, signal.SIGKILL)
            return end(process)

        while True:
            trial = self._trial(name, [lambda work, seconds=after: kill(work, seconds)])
            if trial.kills or trial.differences:
                return trial
            after *= 0.6

    def command_line(self, name: str, text: str) -> Trial:
        """Kill the command line itself as soon as ``text`` stands in its output, and give it again."""
        return self._trial(name, [lambda work: self._shell(work, text)], lambda work: self._shell(work, None))

    def _shell(self, work: Path, text: str | None) -> int:
        arguments = [sys.executable, "-m", "monai.bundle", *command(work / "out", self.extra)]
        with open(work / "log.txt", "ab") as log:
            process = subprocess.Popen(arguments, cwd=ROOT, stdout=log, stderr=log)
        while text is not None and process.poll() is None and text not in (work / "log.txt").read_text():
            time.sleep(0.02)
        if text is not None:
            process.kill()
        return process.wait()

    def _trial(
        self, name: str, kills: Sequence[Callable[[Path], int]], last: Callable[[Path], int] | None = None
    ) -> Trial:
        work = self._work(f"trial_{time.monotonic_ns()}")
        hits, lost, before = 0, 0, {}
        for kill in kills:
            hits += kill(work) == -signal.SIGKILL
            now = stored(work / "out" / RUN)
            lost += lost_bytes(before, now)
            before = now
        code = last(work) if last else end(start(work, self.extra))
        if code != 0:
            return Trial(name, hits, [f"the same command again failed: {(work / 'log.txt').read_text()[-1500:]}"], 0, 0)
        lost += lost_bytes(before, stored(work / "out" / RUN))
        differences = compare(self.reference, outcome(work / "out", RUN)) + leftovers(work / "out", RUN)
        steps = work / "steps"
        repeated = max(steps.stat().st_size - self.steps, 0) if steps.exists() else 0
        if not differences:
            subprocess.run(["rm", "-rf", str(work)], check=True)
        return Trial(name, hits, differences, lost, repeated)

    def _work(self, name: str) -> Path:
        work = self.folder / name
        work.mkdir(parents=True)
        return work


def points(moments: Sequence[str], full: bool) -> list[str]:
    """The moments to kill at, in the order of the run."""
    if full:
        return [m for m in moments if m.endswith(KILLED_AT_LATER if m.startswith("round 1") else KILLED_AT)]
    return [next(m for m in moments if m.startswith(phase) and m.endswith(what)) for phase, what in SHORT]


def trials(harness: Harness, full: bool, n_random: int, seed: int, tell: Callable[[Trial], None]) -> list[Trial]:
    """Do all trials of a form, and tell of each."""
    rng = random.Random(seed)
    named = points(harness.moments, full)
    plans: list[Callable[[], Trial]] = [lambda at=at: harness.named(at, at) for at in named]
    pairs = [(named[i], named[i + max(1, len(named) // 7)]) for i in range(0, len(named) - len(named) // 7 - 1, 12)]
    pairs = pairs if full else pairs[:1]
    plans += [lambda a=a, b=b: harness.named(f"two kills: {a}; {b}", a, b) for a, b in pairs]
    times = [rng.uniform(0, harness.seconds) for _ in range(n_random)]
    plans += [lambda t=t: harness.random("a random time", t) for t in times]
    if full:
        plans += [
            lambda t=t: harness.command_line("the command line", t) for t in ("stage 0: training", "round 0 of 1")
        ]
    done = []
    for plan in plans:
        done.append(plan())
        tell(done[-1])
    return done


def table(done: Sequence[Trial]) -> str:
    """The figures as a Markdown table, one row per phase."""
    lines = ["| Killed in | Points tried | Kills | Resumes equal | Bytes lost | Most steps repeated |"]
    lines += ["|---|---:|---:|---:|---:|---:|"]
    groups: dict[str, list[Trial]] = {}
    for trial in done:
        groups.setdefault(trial.name.split(":")[0], []).append(trial)
    for name, group in [*groups.items(), ("**all**", list(done))]:
        equal = sum(not trial.differences for trial in group)
        cells = (len(group), sum(t.kills for t in group), equal, sum(t.lost for t in group))
        lines.append(f"| {name} | {' | '.join(map(str, cells))} | {max((t.repeated for t in group), default=0)} |")
    return "\n".join(lines)


def main() -> int:
    """Run a form of the harness; the exit status is 1 when a resume was not equal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    form = parser.add_mutually_exclusive_group(required=True)
    form.add_argument("--full", action="store_true", help="every named moment and random times, about ten minutes")
    form.add_argument("--short", action="store_true", help="a few moments, less than a minute")
    form.add_argument("--at", metavar="MOMENT", help="this moment alone; --moments lists them")
    form.add_argument("--moments", action="store_true", help="list the moments of a run and end")
    parser.add_argument("--random", type=int, default=None, help="how many random times; 30 in full, 2 in short")
    parser.add_argument("--seed", type=int, default=0, help="of the random times")
    parser.add_argument("--out", type=Path, help="file for the table")
    options, extra = parser.parse_known_args()
    torch.set_num_threads(1)
    memory = Path("/dev/shm")  # a kill spares the page cache; a slow disk would only take time
    n_random = options.random if options.random is not None else 30 if options.full else 2 if options.short else 0
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        harness = Harness(Path(folder), extra)
        print(f"run left alone: {harness.seconds:.1f} s, {len(harness.moments)} moments", flush=True)  # noqa: T201
        if options.moments:
            print("\n".join(harness.moments))  # noqa: T201
            return 0
        if options.at:
            done = [harness.named(options.at, options.at)]
            _tell(done[0])
        else:
            done = trials(harness, options.full, n_random, options.seed, _tell)
        text = table(done)
    print(text)  # noqa: T201
    if options.out:
        options.out.write_text(text + "\n")
    missed = [trial for trial in done if not trial.kills]
    return int(bool(missed) or any(trial.differences or trial.lost for trial in done))


def _tell(trial: Trial) -> None:
    verdict = "equal" if not trial.differences else "DIFFERS: " + "; ".join(trial.differences[:5])
    print(f"{trial.name}: {trial.kills} kills, {verdict}, {trial.lost} bytes lost", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
