"""``python -m scripts.release COMMAND``: the model, the package, benchmarks; each loads only what it needs."""

from scripts.core.command_line import run

COMMANDS = {
    "model": "scripts.release.model.release",
    "package": "scripts.release.package.package",
    "benchmark": "scripts.release.benchmark.benchmark",
    "benchmark_threads": "scripts.release.benchmark_threads.benchmark_threads",
    "benchmark_start": "scripts.release.benchmark_start.benchmark_start",
    "slide_benchmark": "scripts.release.slide_benchmark.slide_benchmark",
    "benchmark_device": "scripts.release.benchmark_device.benchmark_device",
}

if __name__ == "__main__":  # the benchmarks start processes, which import this file again
    run("python -m scripts.release", COMMANDS)
