"""One image or one mask: read, written, drawn, stored.

No lists of images and no networks; it imports from ``core`` alone.
"""
