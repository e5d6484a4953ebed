"""``python -m scripts.release model | package | benchmark | benchmark_device | slide_benchmark``.

Each loads only what it needs.
"""

from scripts.core.command_line import run

COMMANDS = {
    "model": "scripts.release.model.release",
    "package": "scripts.release.package.package",
    "benchmark": "scripts.release.benchmark.benchmark",
    "slide_benchmark": "scripts.release.slide_benchmark.slide_benchmark",
    "benchmark_device": "scripts.release.benchmark_device.benchmark_device",
}

if __name__ == "__main__":  # the benchmarks start processes, which import this file again
    run("python -m scripts.release", COMMANDS)
