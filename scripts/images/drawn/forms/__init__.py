"""Files of drawing programs, one form a module: what tells it, how it is read into outlines, how it is written."""
