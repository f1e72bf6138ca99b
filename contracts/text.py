"""Makes text from outside fit for a database and a terminal: nothing in it may steer one, or break a line."""

from __future__ import annotations


def printable(text: str, *, instead: str = "?", keep: str = "") -> str:
    """Return `text` with `instead` for every character that cannot be printed; those in `keep` stay."""
    return "".join(c if c.isprintable() or c in keep else instead for c in text)


def one_line(text: str) -> str:
    """Return the printable words of `text`, with one space between two."""
    return " ".join(printable(text, instead=" ").split())
