"""The model of a run, of a round or of a file, made ready for use.

It imports from ``core``, ``state`` and ``networks``; how a model was trained does not matter here.
"""
