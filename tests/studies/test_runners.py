"""Who runs the runs: how many at a time, what a failed one does to the others, what Ctrl-C leaves, jobs of submitit."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scripts.core.errors import InputError
from scripts.core.lock import FileLock
from scripts.studies import runners
from scripts.studies.process import Ended
from scripts.studies.runners import LocalRunner, SlurmJob, SlurmRunner
from tests.support.study_runs import fake_run

LINES = "import time; f = open(FOLDER + '/times', 'a'); print(time.time(), 1, file=f, flush=True); time.sleep(0.4); "
LINES += "print(time.time(), -1, file=f, flush=True)"


def most_at_once(folder: Path) -> int:
    moments = sorted(tuple(map(float, line.split())) for line in (folder / "times").read_text().splitlines())
    now, most = 0.0, 0.0
    for _, change in moments:
        now += change
        most = max(most, now)
    return int(most)


class TestLocal:
    @pytest.mark.parametrize("workers", [1, 2])
    def test_no_more_than_its_workers(self, tmp_path: Path, workers: int) -> None:
        ended: list[str] = []
        runs = [fake_run(tmp_path, LINES, seed) for seed in range(3)]
        LocalRunner(workers).run(runs, lambda run, end: ended.append(f"{run.seed} {end.code}"), lambda: None)
        assert sorted(ended) == ["0 0", "1 0", "2 0"]
        assert most_at_once(tmp_path) == workers

    def test_a_failed_run_does_not_stop_the_others(self, tmp_path: Path) -> None:
        runs = [fake_run(tmp_path, "import sys; sys.exit(SEED % 2)", seed) for seed in range(4)]
        (tmp_path / "broken").write_text("no folder")
        runs.insert(1, fake_run(tmp_path, method="broken"))
        codes: dict[str, int] = {}
        looks: list[int] = []
        LocalRunner(1).run(runs, lambda run, end: codes.update({run.name: end.code}), lambda: looks.append(1))
        assert codes == {f"random, seed {seed}": seed % 2 for seed in range(4)} | {"broken, seed 0": 1}
        assert looks

    def test_workers_fit_cores_and_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(runners, "cores", lambda: 8)
        for free, threads, memory, expected in (
            (64.0, 1, 4.0, 8), (64.0, 3, 4.0, 2), (9.0, 1, 4.0, 2), (1.0, 1, 4.0, 1), (None, 2, 4.0, 4), (64.0, 9, 1, 1)
        ):  # fmt: skip
            monkeypatch.setattr(runners, "free_memory", lambda free=free: free)
            assert LocalRunner("auto", threads, memory).workers == expected

    @pytest.mark.parametrize(
        ("values", "names"),
        [
            ({"workers": 0}, ["workers"]),
            ({"workers": "two"}, ["workers"]),
            ({"workers": True, "threads": 1.5}, ["workers", "threads"]),
            ({"memory_gb": 0}, ["memory_gb"]),
            ({"memory_gb": "4"}, ["memory_gb"]),
            ({"memory_gb": float("nan"), "threads": 0}, ["threads", "memory_gb"]),
            ({"memory_gb": float("inf")}, ["memory_gb"]),
        ],
    )
    def test_values_that_cannot_be(self, values: dict[str, Any], names: list[str]) -> None:
        with pytest.raises(InputError) as caught:
            LocalRunner(**values)
        assert [problem.where for problem in caught.value.problems] == [f"studies#runners#local#{n}" for n in names]

    @pytest.mark.parametrize("polite", [True, False])
    def test_ctrl_c_ends_all_processes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, polite: bool) -> None:
        """One that listens, one that does not, one that waits for another's process, and two that have not begun."""
        monkeypatch.setattr(runners, "_MOMENT_S", 0.1)
        monkeypatch.setattr(runners, "_END_S", 5.0 if polite else 0.5)
        ignore = "" if polite else "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "
        code = f"{ignore}import time; open(FOLDER + f'/begun{{SEED}}', 'w'); time.sleep(60)"
        runs = [fake_run(tmp_path, code, seed) for seed in range(5)]
        waited = FileLock(_made(runs[1].lock))
        ended: list[object] = []

        def look() -> None:
            if (tmp_path / "begun0").exists():
                raise KeyboardInterrupt

        monkeypatch.setattr(runners, "LOOK_S", 0.05)
        begun = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            LocalRunner(2).run(runs, lambda *end: ended.append(end), look)
        assert time.monotonic() - begun < 5
        assert not ended
        waited.release()
        for run in runs:
            FileLock(_made(run.lock)).release()
        assert sorted(path.name for path in tmp_path.glob("begun*")) == ["begun0"]


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


class FakeJob:
    def __init__(self, number: int, result: Ended | Exception) -> None:
        self.job_id, self._result, self._looks = str(number), result, 0

    def done(self) -> bool:
        self._looks += 1
        return self._looks > int(self.job_id)

    def exception(self) -> Exception | None:
        return self._result if isinstance(self._result, Exception) else None

    def result(self) -> Ended:
        assert isinstance(self._result, Ended)
        return self._result


class FakeSubmitit:
    """What the runner uses of submitit; it notes what it is asked."""

    def __init__(self, results: list[Ended | Exception]) -> None:
        self.results, self.asked = results, {}
        self.path = ""

    def AutoExecutor(self, **asked: Any) -> FakeSubmitit:
        self.asked |= asked
        return self

    def update_parameters(self, **asked: Any) -> None:
        if "nonsense" in asked:
            raise NameError("Unknown argument 'nonsense'")
        self.asked |= asked

    def map_array(self, job: SlurmJob, runs: list[Any]) -> list[FakeJob]:
        self.path = os.environ["PYTHONPATH"]
        return [FakeJob(number, result) for number, result in enumerate(self.results)]


class TestSlurm:
    def runner(self, monkeypatch: pytest.MonkeyPatch, folder: Path, fake: Any, **values: Any) -> SlurmRunner:
        monkeypatch.setattr(runners, "needed", lambda name: fake)
        monkeypatch.setattr(runners, "LOOK_S", 0.01)
        return SlurmRunner(str(folder / "slurm"), **values)

    def test_jobs_and_what_became_of_them(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        lost = RuntimeError("Job (task=0) failed during processing\n\nout of memory")
        fake = FakeSubmitit([Ended(0, 2.0, 1.0), lost, Ended(3, 1.0, 1.0, "error: x")])
        found: dict[int, Ended] = {}
        runs = [fake_run(tmp_path, seed=seed) for seed in range(3)]
        before = os.environ.get("PYTHONPATH")
        runner = self.runner(monkeypatch, tmp_path, fake, threads=3, at_once=5, mem_gb=4)
        runner.run(runs, lambda run, end: found.update({run.seed: end}), lambda: None)
        assert fake.asked == {
            "folder": tmp_path / "slurm", "cluster": "slurm", "cpus_per_task": 3, "mem_gb": 4,
            "slurm_array_parallelism": 5,
        }  # fmt: skip
        assert (found[0], found[2]) == (Ended(0, 2.0, 1.0), Ended(3, 1.0, 1.0, "error: x"))
        assert (found[1].code, found[1].words) == (
            1, "job 1 was lost: Job (task=0) failed during processing out of memory",
        )  # fmt: skip
        assert fake.path.startswith(str(Path(__file__).resolve().parents[2]))
        assert os.environ.get("PYTHONPATH") == before

    def test_ctrl_c_leaves_the_jobs_and_names_them(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        fake = FakeSubmitit([Ended(0, 1.0, 1.0), Ended(0, 1.0, 1.0)])

        def look() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            self.runner(monkeypatch, tmp_path, fake).run([fake_run(tmp_path)] * 2, lambda *_: None, look)
        assert "jobs stay with the cluster, and a new start waits for them: 1" in caplog.text

    def test_what_submitit_refuses_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        runner = self.runner(monkeypatch, tmp_path, FakeSubmitit([]), nonsense=1)
        with pytest.raises(InputError, match="slurm: jobs cannot be submitted; found Unknown argument 'nonsense'"):
            runner.run([fake_run(tmp_path)], lambda *_: None, lambda: None)
        fake = SimpleNamespace(AutoExecutor=lambda **_: (_ for _ in ()).throw(RuntimeError('Could not detect "srun"')))
        with pytest.raises(InputError, match="srun"):
            self.runner(monkeypatch, tmp_path, fake).run([fake_run(tmp_path)], lambda *_: None, lambda: None)

    def test_submitit_is_only_needed_by_this_runner(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        runner = SlurmRunner(str(tmp_path))
        monkeypatch.setitem(__import__("sys").modules, "submitit", None)
        with pytest.raises(InputError, match=r"pip install -r requirements-slurm\.txt"):
            runner.run([fake_run(tmp_path)], lambda *_: None, lambda: None)

    @pytest.mark.parametrize("values", [{"threads": 0}, {"at_once": "many"}])
    def test_values_that_cannot_be(self, tmp_path: Path, values: dict[str, Any]) -> None:
        with pytest.raises(InputError, match=f"studies#runners#slurm#{next(iter(values))}"):
            SlurmRunner(str(tmp_path), **values)

    def test_a_job_that_is_pre_empted_is_queued_again(self, tmp_path: Path) -> None:
        submitit = pytest.importorskip("submitit", reason="submitit is not installed (requirements-slurm.txt)")
        run = fake_run(tmp_path)
        delayed = SlurmJob(3).checkpoint(run)
        assert isinstance(delayed, submitit.helpers.DelayedSubmission)
        assert (delayed.function.threads, delayed.args, delayed.kwargs) == (3, (run,), {})


@pytest.mark.slow
def test_submitit_runs_a_run_in_a_process_of_its_own(tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed (requirements-slurm.txt)")
    run = fake_run(tmp_path, "import os, sys; print(os.environ['OMP_NUM_THREADS']); sys.exit('error: why')")
    found: list[Ended] = []
    runner = SlurmRunner(str(tmp_path / "slurm"), threads=2, cluster="local")
    runner.run([run], lambda run, end: found.append(end), lambda: None)
    assert [(end.code, end.words) for end in found] == [(1, "error: why")]
    assert run.log.read_text() == "2\nerror: why\n"
    assert found[0].seconds > 0 and list((tmp_path / "slurm").glob("*result.pkl"))


def test_signals_reach_the_study_while_it_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real SIGINT to the process, as a terminal sends it."""
    monkeypatch.setattr(runners, "_MOMENT_S", 0.1)
    runs = [fake_run(tmp_path, "import time; time.sleep(60)", seed) for seed in range(2)]
    threading.Timer(0.7, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        LocalRunner(1).run(runs, lambda *_: None, lambda: None)
    assert not runs[1].log.exists()
