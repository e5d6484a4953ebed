"""Settings to begin with, made from a look at the data: the look, and the plan as a pure function of it."""
