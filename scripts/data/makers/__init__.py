"""Tables of data sets that come without one: made from folders as they are shipped, and given folds of patients."""
