"""Strategies: which images the oracle is asked next, and the pool they choose from.

Pure functions, one family per file; imports nothing of ``active`` but this folder, and no torch.
"""
