"""Encoders and their ImageNet weights.

They know nothing of the network above them, and import from ``core`` alone.
"""
