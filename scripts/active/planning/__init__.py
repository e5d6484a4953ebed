"""Plans for the data of a run: made, timed, kept in its output folder, and laid under what was set by hand.

It knows the config and the data, and nothing of the rounds.
"""
