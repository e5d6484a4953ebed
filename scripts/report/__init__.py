"""Learning curve and ``report.html``, from the state of a run alone.

It loads no torch, and imports nothing of trainings or rounds.
"""
