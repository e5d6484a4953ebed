"""What people draw in other programs: read from their files, and made masks of."""
