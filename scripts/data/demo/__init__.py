"""Tissue that is drawn by a program: the demo data set, and a slide to try.

It imports from ``core`` alone.
"""
