"""How long ``run plan`` takes, and how much memory, for data sets of many files.

``python -m tests.support.plan_speed --files 1000 100000`` makes each data set in a temporary folder, of some tiny
pictures that have many names, plans it in a process of its own and prints a table: seconds, those of the processor
(which do not grow when others work beside), of these those of the table and of the look at the files, and the peak of
the process's memory.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from scripts.data.demo.data_set import make_demo

CONFIG = Path(__file__).resolve().parents[2] / "bundle" / "configs" / "train.json"
PICTURES, SIZE = 24, (64, 64)


def make_many(folder: Path, files: int) -> Path:
    """Write a data set of ``files`` rows, a mask each, split 70 : 10 : 20: names of the same few pictures; its table.

    Links are hard ones, since a link by name is another path to a single image, which a table may name only once.
    """
    pictures = make_demo(folder / "pictures", n_train=PICTURES, n_val=2, n_test=2, size=SIZE).parent
    rows = ["image,label,mask,split"]
    for number in range(files):
        here = folder / f"{number // 1000:03d}"
        here.mkdir(exist_ok=True)
        name, source = f"{number:06d}", f"train_{number % PICTURES + 1:02d}.png"
        os.link(pictures / "images" / source, here / f"{name}.png")
        os.link(pictures / "masks" / source, here / f"{name}_mask.png")
        split = ("train", "train", "train", "val", "train", "train", "test", "train", "test", "train")[number % 10]
        where = f"{here.name}/{name}"
        rows.append(f"{where}.png,{'ab'[number % 2]},{where}_mask.png,{split}")
    (folder / "data.csv").write_text("\n".join(rows) + "\n")
    return folder


def measure(folder: Path, out: Path) -> dict[str, Any]:
    """Plan a data set in this process, which should be a fresh one: seconds of the parts, peak MiB before and after."""
    from scripts.active import planning  # here: what its import takes is in the peak of the process

    seconds = {}

    def timed(name: str) -> None:
        call = getattr(planning, name)

        def wrapped(*args: Any, **settings: Any) -> Any:
            began = time.process_time()
            found = call(*args, **settings)
            seconds[name] = time.process_time() - began
            return found

        setattr(planning, name, wrapped)

    for name in ("read_datalist", "fingerprint_of"):
        timed(name)
    parser = ConfigParser(ConfigParser.load_config_files([CONFIG]))
    parser["dataset_dir"], parser["output_dir"], parser["data#dataset_dir"] = str(folder), str(out), str(folder)
    before, began, busy = _peak_mib(), time.perf_counter(), time.process_time()
    parser.get_parsed_content("plan")
    return {
        "seconds": time.perf_counter() - began,
        "busy": time.process_time() - busy,
        "table": seconds["read_datalist"],
        "look": seconds["fingerprint_of"],
        "before_mib": before,
        "peak_mib": _peak_mib(),
        "plan": json.loads((out / "plan.json").read_text()),
    }


def measured(files: int) -> dict[str, Any]:
    """Make a data set and measure its plan in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = make_many(Path(name), files)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.apply(measure, (folder, folder / "out"))


def _peak_mib() -> float:
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, nargs="+", default=[1000, 100_000], help="rows of each data set")
    counts = parser.parse_args(arguments).files
    print("| rows | seconds | of the processor | the table | the look at files | peak MiB | before the plan |")  # noqa: T201
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")  # noqa: T201
    for count in counts:
        it = measured(count)
        parts = f"{it['table']:.2f} | {it['look']:.2f} | {it['peak_mib']:.0f} | {it['before_mib']:.0f}"
        print(f"| {count:,} | {it['seconds']:.1f} | {it['busy']:.1f} | {parts} |", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
