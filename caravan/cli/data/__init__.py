"""Commands on data and features."""
