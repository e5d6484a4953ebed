"""The benchmark command at tiny sizes: what it times, in which order, and what it writes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from scripts.core.command_line import run
from scripts.core.errors import InputError
from scripts.release.__main__ import COMMANDS
from scripts.release.benchmarks import networks as module
from scripts.release.benchmarks.cases import (
    VARIANTS,
    Case,
    Variant,
    data_cases,
    load_samples,
    network_cases,
    peak_memory,
    write_random_images,
)
from scripts.release.benchmarks.networks import ARGUMENTS, Timing, benchmark, time_in_turn, written_command
from scripts.release.benchmarks.report import BEGIN, END

CPU = torch.device("cpu")
SIZE = (64, 96)
TINY = {
    "image_size": SIZE, "batch": 2, "published_batch": 2, "predictions": 1, "repetitions": 1, "n_train": 4,
    "memory": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    return write_random_images(tmp_path_factory.mktemp("images"), 4, (100, 150), seed=0)


@pytest.fixture(scope="module")
def samples(table):
    return load_samples(str(table), None, "split", SIZE, batch=6, limit=3)


def test_one_command_measures_and_writes(tmp_path):
    out = tmp_path / "docs" / "benchmarks.md"
    benchmark(out=str(out), **TINY)
    text = out.read_text()
    assert text.count(BEGIN) == text.count(END) == 1
    for name in VARIANTS.values():
        assert name in text
    assert "random images" in text and "--batch 2" in text and "not measured" in text
    assert str(tmp_path) not in text.replace(f"--out {out}", "")
    assert "26,901,451" in text and "15,719,809" in text  # the published network on GlaS


def test_cases_are_timed_in_turn():
    calls = []
    cases = [
        Case("train", "kept", 4, lambda: (calls.append("a"), time.sleep(0.02))[0]),
        Case("train", "joint", 1, lambda: calls.append("b")),
    ]
    slow, fast = time_in_turn(cases, 3, CPU)
    assert calls == ["a", "b"] * 4  # one untimed turn, then three
    assert len(slow.seconds) == len(fast.seconds) == 3
    assert 0.005 <= slow.minimum < 0.02  # per image of four
    assert fast.median < slow.minimum


def test_median_and_minimum():
    timing = Timing("train", "kept", 1, (3.0, 1.0, 10.0))
    assert (timing.median, timing.minimum) == (3.0, 1.0)


@pytest.mark.parametrize("key", list(VARIANTS))
def test_a_step_trains_what_it_should(samples, key):
    variant = Variant(key, samples, 2, CPU)
    before = {name: value.detach().clone() for name, value in variant.network.named_parameters()}
    variant.train_step()
    changed = {name for name, value in variant.network.named_parameters() if not torch.equal(value, before[name])}
    assert any(name.startswith(("decoder.", "branch.")) for name in changed)
    assert any(name.startswith("encoder.") for name in changed) == (key == "joint")
    everything, trained = variant.parameters()
    assert (trained == everything) == (key == "joint")


def test_features_are_kept_only_where_said(samples):
    kept = Variant("kept", samples, 2, CPU)
    for _ in range(3):
        kept.train_step()
    assert kept.inferer.bank.computed == 2
    kept.predict(2)
    assert kept.inferer.bank.computed == 2
    kept.predict(3, flips=True)
    assert kept.inferer.bank.computed == 2 + 2 * 3  # the three flipped versions of two images
    assert Variant("computed", samples, 2, CPU).inferer.bank is None


def test_operations_are_those_of_the_layers(samples):
    kept, computed = (Variant(key, samples, 2, torch.device("cpu"), False).operations() for key in ("kept", "computed"))
    assert computed["predict"] > kept["predict"] > 0
    assert 2 * kept["predict"] < kept["train"] < 4 * kept["predict"]  # a backward pass takes as much again, or twice


def test_stage0_leaves_the_variant_as_it_was(samples):
    variant = Variant("published", samples, 2, CPU)
    variant.stage0_step()
    assert variant.network.frozen
    assert not any(p.requires_grad for p in variant.network.encoder.parameters())
    assert all(p.grad is None for p in variant.network.parameters())


def test_every_group_has_its_cases(samples):
    variants = {key: Variant(key, samples, 1, CPU) for key in VARIANTS}
    cases = network_cases(variants, 1) + data_cases(samples, SIZE)
    found = {group: [case.key for case in cases if case.group == group] for group in {case.group for case in cases}}
    assert found["train"] == list(VARIANTS)
    assert found["predict"] == found["flips"] == ["kept", "computed", "published"]
    assert found["stage0"] == ["joint", "published"]
    assert found["decode"] == found["histogram"] == found["graph"] == [""]


def test_samples_are_repeated_to_a_batch(samples):
    assert samples.images.shape == (6, 3, *SIZE) and samples.masks.shape == (6, 1, *SIZE)
    assert samples.images.min() >= 0 and 0.5 < samples.images.max() <= 1
    assert torch.equal(samples.images[:3], samples.images[3:])
    assert len(samples.items) == len(samples.originals) == 3
    assert samples.originals[0].shape == (100, 150, 3)
    assert samples.classes == 2 and samples.labels.tolist() == [0, 1, 0, 0, 1, 0]


def test_random_images_depend_on_the_seed_only(tmp_path):
    contents = []
    for number, seed in enumerate((1, 1, 2)):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_random_images(folder, 1, (20, 30), seed)
        contents.append((folder / "0.png").read_bytes())
    assert contents[0] == contents[1] != contents[2]


def test_peak_memory_is_that_of_a_process():
    assert 50e6 < peak_memory("", SIZE, 1) <= peak_memory("kept", SIZE, 1) < 50e9


def test_memory_is_measured_in_processes_of_their_own(monkeypatch):
    asked = []

    class Pool:
        def __init__(self, count):
            assert count == 1

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def apply(self, function, arguments):
            assert function is peak_memory
            asked.append(arguments)
            return len(asked)

    class Context:
        pass

    Context.Pool = Pool
    monkeypatch.setattr(module.multiprocessing, "get_context", {"spawn": Context}.__getitem__)
    peaks = module.measure_memory(SIZE, {"kept": 8, "published": 4}, "cpu", "auto", 1)
    assert peaks == {"": 1, "kept": 2, "published": 3}
    assert [arguments[:3] for arguments in asked] == [("", SIZE, 1), ("kept", SIZE, 8), ("published", SIZE, 4)]


def test_the_command_names_what_differs_from_the_defaults():
    assert written_command(dict(ARGUMENTS)) == "python -m scripts.release benchmark --out docs/benchmarks.md"
    values = ARGUMENTS | {"dataset_dir": "../my data", "image_size": [64, 96], "memory": False}
    assert written_command(values) == (
        "python -m scripts.release benchmark --dataset_dir '../my data' --out docs/benchmarks.md --image_size 64,96"
        " --memory False"
    )


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"repetitions": 0, "batch": -1}, "repetitions(?s:.)*batch|batch(?s:.)*repetitions"),
        ({"image_size": (64,)}, "image_size"),
        ({"image_size": 64}, "image_size"),
        ({"dataset_dir": "/nowhere/at/all"}, "nowhere"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, arguments, named):
    out = tmp_path / "out.md"
    with pytest.raises(InputError, match=named):
        benchmark(out=str(out), **(TINY | arguments))
    assert not out.exists()


def test_the_command_ends_with_a_line_not_a_traceback(tmp_path, caplog):
    with pytest.raises(SystemExit) as ended:
        run("release", COMMANDS, ["benchmark", "--repetitions", "0", "--out", str(tmp_path / "out.md")])
    assert ended.value.code == 2
    assert "repetitions" in caplog.text


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_on_a_gpu(tmp_path):
    benchmark(out=str(tmp_path / "out.md"), device="cuda", **(TINY | {"memory": True}))
    assert "GPU" in (tmp_path / "out.md").read_text()
