"""Deep active learning for joint classification and segmentation with a weak annotator, as a MONAI bundle.

A folder per subject; docs/architecture.md has the tree, and the table of which folder may import from which, which
tests/test_layout.py holds. Nothing is imported here or in the folders' own files: importing one module stays cheap.
"""
