"""Learning curve, ``report.html`` and an MLflow store, from the state of a run alone.

It loads no torch, and imports nothing of trainings or rounds.
"""
