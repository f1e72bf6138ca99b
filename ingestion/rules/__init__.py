"""Says what a row must be, and sets aside what is not."""
