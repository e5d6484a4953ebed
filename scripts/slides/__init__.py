"""Whole slides: predicted tile by tile, written.

It imports from ``core``, ``images``, ``networks`` and ``trained``, never from rounds or trainings.
"""
