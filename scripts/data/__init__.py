"""Lists of images: tables, splits, checks before a run, histograms.

It imports from ``core`` and ``images``, never from networks or a run; tables, splits and makers load no torch.
"""
