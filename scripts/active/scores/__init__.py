"""Scores: maps of how much each pixel would tell if the oracle drew the image, and what makes one number of a map.

Pure functions of tensors; imports nothing of ``active``.
"""
