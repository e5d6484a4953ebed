"""One training: batches, losses, validation, checkpoints; stage 0, and the learner that a round asks.

It knows nothing of rounds or of the state of a run.
"""
