"""The report of a study: one page with tables, curves, what holds in words, and the pool of one run.

All but the pool is made from results alone, without torch; nothing here trains.
"""
