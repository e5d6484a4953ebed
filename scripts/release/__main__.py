"""``python -m scripts.release model | package | benchmark | slide_benchmark``; each loads only what it needs."""

from scripts.core.command_line import run

COMMANDS = {
    "model": "scripts.release.model.release",
    "package": "scripts.release.package.package",
    "benchmark": "scripts.release.benchmark.benchmark",
    "slide_benchmark": "scripts.release.slide_benchmark.slide_benchmark",
}

if __name__ == "__main__":  # the benchmarks start processes, which import this file again
    run("python -m scripts.release", COMMANDS)
