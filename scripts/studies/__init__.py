"""Studies: many runs of methods and seeds, the engine that runs them, their statistics and their results.

It must not import from ``prediction``, ``slides`` or ``release``.
"""
