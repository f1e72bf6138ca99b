"""Removes what nobody names any more: old copies, files and objects of a region."""
