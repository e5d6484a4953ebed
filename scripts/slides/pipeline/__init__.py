"""Parts of the prediction of a slide that run beside each other, in processes.

It imports from ``core`` and from what the rest of ``slides`` computes.
"""
