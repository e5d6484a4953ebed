"""Metrics of masks and classes, their tables, and the command ``evaluate``.

It imports from ``core``, ``images``, ``networks`` and ``data``; a model is handed in ready.
"""
