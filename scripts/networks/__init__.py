"""Networks, what they put out, their weights and the files these are kept in.

Nothing of data or runs; it imports from ``core`` alone.
"""
