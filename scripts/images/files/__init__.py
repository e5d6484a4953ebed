"""Image files by format: their names, their decoders, the rule to 8 bits. Imports nothing of other folders but core."""
