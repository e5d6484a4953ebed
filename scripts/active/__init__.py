"""Algorithm 1: strategies, propagation, oracles, the phases of a round and the loop over rounds.

It may use every folder below but the commands for new images, ``prediction`` and ``slides``.
"""
