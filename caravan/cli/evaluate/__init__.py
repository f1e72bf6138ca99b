"""Commands that measure a recipe or the search."""
