"""Ways to run a trained joint network where nothing is trained: the same results within a stated tolerance, faster.

It imports from ``core`` and the rest of ``networks``; what it makes stands in for the network in an inferer.
"""
