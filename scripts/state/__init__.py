"""One run on the disk: its database, its files named by hash, its lock.

No torch and no pixels; it imports from ``core`` alone.
"""
