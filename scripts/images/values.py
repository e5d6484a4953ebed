"""Values of a mask, uint8: what is inside, what is outside, and what nobody judged."""

from __future__ import annotations

BACKGROUND = 0
FOREGROUND = 1
IGNORE = 255
"""Pixels of this value take no part in losses, metrics and costs."""
