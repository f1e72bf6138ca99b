"""Makes the clean partition of a day from all that landed."""
