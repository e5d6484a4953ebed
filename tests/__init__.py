"""Tests of ``scripts`` and of the bundle; imported before torch, so that each of two workers computes on one thread."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
