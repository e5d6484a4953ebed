"""What a user sees of ``python -m monai.bundle run``: exit codes, and of a mistake one plain message, no traceback."""

from __future__ import annotations

import csv
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from scripts.state.reader import StateReader
from scripts.state.run_state import RunState
from tests.support.forked_commands import ROOT, Commands
from tests.support.payloads import Touch
from tests.support.tiny_runs import SMALL, make_images, words_of

CONFIG = "bundle/configs/train.json"
OVERLAY = "['bundle/configs/train.json','bundle/configs/evaluate.json']"
SIZES = {"train": 4, "val": 2, "test": 2}
OPTIONS = {**SMALL, "active#method": "random", "active#rounds": 1}


def command(data: Path, output: Path, *arguments: str, run_id: str = "training", config: str = CONFIG) -> list[str]:
    places = [f"--dataset_dir={data}", f"--output_dir={output}"]
    options = words_of(OPTIONS, run_id, *re.findall(r"\w+\.json", config))
    return ["run", run_id, "--config_file", config, *options, *places, *arguments]


@pytest.fixture
def run(commands: Commands, tmp_path: Path):
    """``run(data, output, ...)`` gives the exit code, and standard output and error together."""
    return lambda *places, **which: commands.run(tmp_path / "log.txt", *command(*places, **which))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("command") / "data", SIZES)


def message(text: str) -> str:
    """The error, which comes once, last, and without any traceback or echo of it in a log."""
    assert "Traceback" not in text, text[-3000:]
    assert "exception" not in text.lower(), text[-3000:]
    found = re.findall(r"^error: .*", text, re.MULTILINE | re.DOTALL)
    assert len(found) == 1, text[-3000:]
    return found[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--active#method=lable_prop",), ("active#method: unknown method", "label_prop", "'lable_prop'")),
        (("--active#methd=wsl", "--batch_size=0"), ("2 problems", "active#methd", "active#method", "batch_size")),
        (("--network_def#backbon=x",), ("scripts.networks.joint_net.JointNet", "'backbon'")),
        (("--num_classes=3",), ("num_classes", "2 classes in the data: a, b", "--num_classes 2")),
        (("--data#table=nothing.csv",), ("nothing.csv: table is missing",)),
        (
            ("--active#protect_pseudo=false",),
            ("active#protect_pseudo", "expected True or False; found false", "--active#protect_pseudo False"),
        ),
    ],
)
def test_mistakes_in_the_config(run, data: Path, tmp_path: Path, arguments: Sequence[str], words: list[str]) -> None:
    code, text = run(data, tmp_path / "out", *arguments)
    assert code == 2
    assert all(word in message(text) for word in words), message(text)
    assert not list(tmp_path.glob("out/stage0/*.pt"))


def test_a_wrong_folder_and_a_wrong_run_id(run, data: Path, tmp_path: Path) -> None:
    code, text = run(tmp_path / "nowhere", tmp_path / "out")
    assert code == 2
    assert f"{tmp_path / 'nowhere'}: folder is missing" in message(text)
    code, text = run(data, tmp_path / "out", run_id="trainng")
    assert code == 2
    assert "trainng" in message(text)


def test_bad_images_stop_a_run_or_are_listed_in_its_report(run, tmp_path: Path) -> None:
    data, output = make_images(tmp_path / "data", SIZES), tmp_path / "out"
    (data / "train_02.png").write_bytes((data / "train_02.png").read_bytes()[:300])
    (data / "val_00.png").write_bytes(b"")
    (data / "test_01_mask.png").write_bytes(pickle.dumps(Touch(tmp_path / "canary")))
    code, text = run(data, output)
    assert code == 2
    told = message(text)
    assert told.startswith("error: 3 problems")
    assert all(words in told for words in ("train_02.png: cannot be decoded", "val_00.png: file is empty", "test_01"))
    code, text = run(data, output, "--on_bad_image=skip")
    assert code == 0, text[-3000:]
    assert "3 images are left out" in text
    report = (output / "report.html").read_text()
    assert all(f"<td>{name}</td>" in report for name in ("train_02", "val_00", "test_01"))
    assert "file is empty" in report
    code, text = run(data, output, "--on_bad_image=skip", run_id="evaluate", config=OVERLAY)
    assert code == 0, text[-3000:]
    code, text = run(data, output, run_id="evaluate", config=OVERLAY)
    assert code == 2
    assert message(text).startswith("error: 3 problems")
    assert not (tmp_path / "canary").exists()


def test_text_of_the_data_is_never_evaluated(run, tmp_path: Path) -> None:
    """Class names, ids and paths that MONAI would evaluate, refer to, or split, if they were part of the config."""
    call = "$__import__('os').mkdir('{}')"
    classes = {"a": call.format(tmp_path / "canary"), "b": "@lr#%active"}
    names = {
        "train_00": call.format("canary_of_an_id"),
        "train_01": "@data#1",
        "val_00": "%train#dataset",
        "test_01": "#",
    }
    data, output = make_images(tmp_path / "data", SIZES), tmp_path / "out"
    with open(data / "data.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        stem = row["image"].removesuffix(".png")
        for column, ending in (("image", ".png"), ("mask", "_mask.png")):
            name = f"{names.get(stem, stem)}{ending}"
            (data / row[column]).rename(data / name)
            row[column] = name
        row["label"] = classes[row["label"]]
    with open(data / "data.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for more, which in (
        (["--active#max_overlays=4"], {}),
        ([f"--ckpt_dir={tmp_path}"], {"run_id": "run"}),
        ([], {"run_id": "evaluate", "config": OVERLAY}),
    ):
        code, text = run(data, output, *more, **which)
        assert code == 0, text[-3000:]
    with StateReader.open(output / "random_seed0") as state:
        assert {image.id for image in state.images()} > set(names.values())
        assert state.settings()["classes"] == sorted(classes.values())
    assert {path.name for path in (output / "evaluation").iterdir()} == {
        "per_image.csv", "summary.csv", "summary.json", "confusion.csv",
    }  # fmt: skip
    assert not (tmp_path / "canary").exists()
    assert not (ROOT / "canary_of_an_id").exists()


def test_the_state_of_another_run(run, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert run(data, output)[0] == 0
    before = (output / "random_seed0" / "state.sqlite").read_bytes()
    code, text = run(data, output, "--lr=0.5")
    assert code == 3
    assert re.search(r"lr: setting differs from that of the run; expected 0.002; found 0.5\b", message(text))
    other = make_images(tmp_path / "data", SIZES)
    (other / "train_01.png").write_bytes((other / "train_03.png").read_bytes())
    code, text = run(other, output)
    assert code == 3
    assert "train_01: file (SHA-256) changed since the run began" in message(text)
    assert (output / "random_seed0" / "state.sqlite").read_bytes() == before


def test_a_run_in_use_and_a_damaged_state(run, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "random_seed0"
    with RunState.open(folder):
        code, text = run(data, tmp_path)
    assert code == 3
    assert f"pid {os.getpid()} on host" in message(text)
    (folder / "state.sqlite").write_bytes(b"not a state" * 100)
    code, text = run(data, tmp_path)
    assert code == 3
    assert str(folder / "state.sqlite") in message(text)


def test_a_training_that_goes_astray(run, data: Path, tmp_path: Path) -> None:
    code, text = run(data, tmp_path, "--lr=1e30")
    assert code == 2
    told = message(text)
    assert re.search(r"random_seed0/round_00_cycle0, epoch 1, step 2: the loss is not finite", told)
    assert "train_0" in told


@pytest.mark.parametrize(
    ("without", "words"), [("val", "no validation image"), ("masks", "no mask of a validation image")]
)
def test_the_single_training_needs_validation_too(run, tmp_path: Path, without: str, words: str) -> None:
    data = make_images(tmp_path / "data", SIZES if without == "masks" else {**SIZES, "val": 0})
    if without == "masks":
        text = (data / "data.csv").read_text()
        (data / "data.csv").write_text(re.sub(r"val_\d\d_mask\.png", "", text))
    code, text = run(data, tmp_path / "out", f"--ckpt_dir={tmp_path}", run_id="run")
    assert code == 2
    assert words in message(text)
    assert not (tmp_path / "model.pt").exists()


def test_no_run_to_evaluate(run, data: Path, tmp_path: Path) -> None:
    code, text = run(data, tmp_path / "out", run_id="evaluate", config=OVERLAY)
    assert code == 2
    assert "which run is not clear" in message(text)


def test_faults_of_the_program_keep_their_traceback(run, data: Path, tmp_path: Path) -> None:
    code, text = run(data, tmp_path, "--active#oracles#simulated={'_target_': 'unittest.mock.Mock'}")
    assert code == 1
    assert "Traceback" in text


class TestRealProcess:
    """The same through the shell's own command, once for each exit code."""

    def start(self, arguments: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
        with open(log, "wb") as stream:
            return subprocess.Popen(
                [sys.executable, "-m", "monai.bundle", *arguments],
                cwd=ROOT, env=environment, stdout=stream, stderr=stream,
            )  # fmt: skip

    @pytest.mark.slow
    def test_input_and_state(self, data: Path, tmp_path: Path) -> None:
        (tmp_path / "random_seed0").mkdir()
        (tmp_path / "random_seed0" / "state.sqlite").write_bytes(b"not a state" * 100)
        logs = [tmp_path / "2.txt", tmp_path / "3.txt"]
        ways = [command(data, tmp_path, "--active#methd=x"), command(data, tmp_path)]
        running = [self.start(*each) for each in zip(ways, logs, strict=True)]
        assert [process.wait(timeout=120) for process in running] == [2, 3]
        assert "active#methd" in message(logs[0].read_text())
        assert "state.sqlite" in message(logs[1].read_text())

    @pytest.mark.slow
    def test_an_interrupted_run_says_so(self, data: Path, tmp_path: Path) -> None:
        log = tmp_path / "log.txt"
        process = self.start(command(data, tmp_path, "--active#stage0#overrides#epoch_length=10000"), log)
        deadline = time.monotonic() + 100
        while "stage 0: training" not in log.read_text() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.1)
        time.sleep(1.0)  # now it trains
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        text = log.read_text()
        assert "Traceback" not in text
        assert text.rstrip().endswith("interrupted. The same command goes on where this one stopped.")
