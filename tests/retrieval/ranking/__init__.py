"""Tests of the sources, the causes they are named by, and the choice among candidates."""
