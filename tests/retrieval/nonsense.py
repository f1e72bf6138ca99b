"""Strings that nobody means by anything, kind by kind, and titles that look like a hardware shop's."""

from __future__ import annotations

import random
import string
import uuid
from collections.abc import Callable

HEX = "0123456789abcdef"
CONSONANTS = "bcdfghjklmnpqrstvwxz"
ROWS = ("asdfghjkl", "qwertyuiop", "zxcvbnm")
SIGNS = ("🎁", "🔥🔥🔥", "❤️", "---", "-_-", "!?", "…", "\u3000", "«»", "& / &", "#", "****", "(╯°□°)", "👩‍🚀", "½⃠"[1:])


def _drawn(draw: random.Random, letters: str, least: int, most: int) -> str:
    return "".join(draw.choices(letters, k=draw.randint(least, most)))


#: What identifiers look like. They have no meaning, and a shop that has not this one has nothing.
IDENTIFIERS: dict[str, Callable[[random.Random], str]] = {
    "hex of 8": lambda d: _drawn(d, HEX, 8, 8),
    "hex of 10": lambda d: _drawn(d, HEX, 10, 10),
    "hex of 12": lambda d: _drawn(d, HEX, 12, 12),
    "hex of 16": lambda d: _drawn(d, HEX, 16, 16),
    "an MD5": lambda d: _drawn(d, HEX, 32, 32),
    "a SHA-1": lambda d: _drawn(d, HEX, 40, 40).upper(),
    "a UUID": lambda d: str(uuid.UUID(int=d.getrandbits(128))),
    "a UUID in braces": lambda d: f"{{{uuid.UUID(int=d.getrandbits(128))}}}",
    "letters and digits": lambda d: _drawn(d, string.ascii_lowercase + string.digits, 8, 13),
    "base64": lambda d: _drawn(d, string.ascii_letters + string.digits, 22, 22) + "==",
    "a long number": lambda d: _drawn(d, string.digits, 9, 14),
}
LETTERS: dict[str, Callable[[random.Random], str]] = {
    "letters, 7 to 12": lambda d: _drawn(d, string.ascii_lowercase, 7, 12),
    "letters, 13 to 20": lambda d: _drawn(d, string.ascii_lowercase, 13, 20),
    "two words of letters": lambda d: " ".join(_drawn(d, string.ascii_lowercase, 6, 8) for _ in range(2)),
    "a row of keys": lambda d: _drawn(d, d.choice(ROWS), 7, 12),
    "consonants": lambda d: _drawn(d, CONSONANTS, 7, 12),
}  # fmt: skip
KINDS = {**IDENTIFIERS, **LETTERS, "signs": lambda d: d.choice(SIGNS)}

_MAKERS = ("Halden", "Corvik", "Brightwell", "Tamrac", "Osterby", "Fenwood", "Kestrel", "Marlow", "Nordal", "Pixton")
_KINDS = ("angle bracket", "ceiling fan", "faucet", "deck screw", "door hinge", "vinyl plank", "air filter", "drill",
          "outlet cover", "shower head", "light bulb", "sofa", "vacuum cleaner", "trash can", "curtain rod", "mop",
          "smoke detector", "garden hose", "ladder", "tool box")  # fmt: skip
_SIZES = ("{} in. x {} in.", "{}-{}/8 in.", "{} ft. x {} ft.", "{}-Light {} W", "{} V {} Ah", "{}-Pack")
_LOOKS = ("white", "brushed nickel", "oak", "black", "galvanized", "satin", "bronze", "clear", "walnut", "beige")


def model(draw: random.Random) -> str:
    """A model number as makers write them."""
    form = draw.choice(("LLddd", "LLddddL", "LL-dddd", "LLLddd-Ld", "ddddLLd", "LdddLLdd", "LLLd-ddLL"))
    return "".join(
        draw.choice(string.ascii_uppercase) if c == "L" else draw.choice(string.digits) if c == "d" else c for c in form
    )


def titles(count: int, seed: int = 0) -> list[str]:
    """Titles with sizes, numbers and model numbers, in which every number up to a hundred occurs."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        sizes = draw.choice(
            ("{} in. x {} in.", "{}-{}/8 in.", "{} ft. x {} ft.", "{}-Light {} W", "{} V {} Ah", "{}-Pack")
        )
        measured = sizes.format(draw.randint(1, 96), draw.randint(1, 99))
        parts = [draw.choice(_MAKERS), draw.choice(_LOOKS), measured, draw.choice(_KINDS)]
        if draw.random() < 0.4:
            parts.append(model(draw))
        made.append(" ".join(parts))
    return made
