"""Files of whole slides, opened and read in parts; regions of them that stand for images. No networks, no lists."""
