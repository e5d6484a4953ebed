"""People who draw: what goes out to them, what comes back, and the gate that a mask must pass.

It knows nothing of networks and trainings, and loads no torch.
"""
