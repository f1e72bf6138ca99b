"""Text from outside cannot steer a terminal, and is one line where a ledger wants one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from contracts.text import one_line, printable


@given(st.text())
def test_nothing_unprintable_is_left(text: str) -> None:
    assert printable(text).isprintable()
    assert len(printable(text)) == len(text)
    line = one_line(text)
    assert line.isprintable()
    assert line == one_line(line) == line.strip()
    assert "  " not in line


def test_what_is_left_out_kept_or_replaced() -> None:
    assert printable("a\x1b[31m\nb") == "a?[31m?b"
    assert printable("a\x1b[31m\nb", keep="\n") == "a?[31m\nb"
    assert printable("go\x00od", instead="") == "good"
    assert one_line("  better on\nnew\titems\x00 ") == "better on new items"
