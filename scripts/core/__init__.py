"""Errors, files, seeds, config and command lines: what every folder needs.

It knows nothing of images, networks or runs, and imports from no other folder.
"""
