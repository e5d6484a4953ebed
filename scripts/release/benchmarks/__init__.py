"""Speed and memory, measured by commands that write docs/benchmarks.md: networks, slides, threads, start, a device.

It may import from everything; nothing imports from it.
"""
