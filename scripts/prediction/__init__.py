"""The commands ``predict`` and ``explain`` for new images.

It imports from what lies below a training; rounds, strategies and trainings are not its matter.
"""
