"""Mask files as they are stored, and what their values say of how they were made. Imports nothing of other folders."""
