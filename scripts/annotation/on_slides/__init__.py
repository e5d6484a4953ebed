"""Regions of slides that a round asks for, as rectangles on the slides, and what is drawn there. No networks."""
