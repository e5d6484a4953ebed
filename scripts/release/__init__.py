"""What is given away and measured: model file, package, benchmarks.

It may use every folder, and none uses it.
"""
