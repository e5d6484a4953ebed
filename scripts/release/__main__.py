"""``python -m scripts.release COMMAND``: the model, the package, benchmarks; each loads only what it needs."""

from scripts.core.command_line import run

COMMANDS = {
    "model": "scripts.release.model.release",
    "package": "scripts.release.package.package",
    "benchmark": "scripts.release.benchmarks.networks.benchmark",
    "benchmark_threads": "scripts.release.benchmarks.threads.benchmark_threads",
    "benchmark_start": "scripts.release.benchmarks.start.benchmark_start",
    "slide_benchmark": "scripts.release.benchmarks.slides.slide_benchmark",
    "benchmark_device": "scripts.release.benchmarks.device.benchmark_device",
}

if __name__ == "__main__":  # the benchmarks start processes, which import this file again
    run("python -m scripts.release", COMMANDS)
