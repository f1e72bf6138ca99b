"""Erases a shopper from every place in a region."""
