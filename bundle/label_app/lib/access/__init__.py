"""Who may ask, from where, and how much of it at once. Nothing here knows the run."""
