"""Everything that is served. What is not here is not answered."""
