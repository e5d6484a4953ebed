"""Rounds as tasks of labelling programs, which people know better than a page of ours."""
