"""Erases a shopper from every place of a region."""
