"""Brings letters, marks and digits into one spelling, script by script: what a shopper may leave out or exchange, goes.

NFKC and case folding do the most. A mark is folded only where its language does without it (é in a Latin word, the
vowel signs of Arabic and Hebrew); where it makes another letter it stays (ガ is not カ, й is not и, कि is not क).
"""

from __future__ import annotations

import sys
import unicodedata

import regex

_VULGAR_FRACTION = regex.compile("(?=[\u00bc-\u00be\u2150-\u215e])")  # else 1½ would fold to 11/2
#: Characters that change before NFKC, which makes a blank and a mark of the acute accent, and a blank of all blanks.
_BEFORE = str.maketrans({"\u00b4": "'", "\u00ad": None, "\u200b": " "})
_THIN_BLANK = regex.compile(r"(?<=\d)[\u00a0\u2007\u2009\u202f](?=\p{Nd}{3}(?!\p{Nd}))")
#: Letters that Unicode does not take apart.
_STROKES = {**dict(zip("łøđðħŧı", "loddhti", strict=True)), "æ": "ae", "œ": "oe", "þ": "th"}
#: Arabic and Persian letters that are exchanged, as in Lucene's normalizers.
_ARABIC = dict(zip("ىیےکةۀہھٱ", "ييي\u0643هههه\u0627", strict=True))
_AFTER: dict[int, str | None] = {
    **{ord(letter): folded for letter, folded in (_STROKES | _ARABIC).items()},
    # apostrophes and marks of length
    **dict.fromkeys(map(ord, "\u2018\u2019\u201b\u02bc\u02b9\u2032\u05f3`"), "'"),
    **dict.fromkeys(map(ord, "\u201c\u201d\u201f\u2033\u05f4"), '"'),
    # signs of numbers, hyphens
    **{0x2044: "/", 0x066B: ".", 0x066C: ","},
    **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2212"), "-"),
    **dict.fromkeys((0x0640, 0x200D, 0x200E, 0x200F, 0x2060, 0xFEFF), None),  # lengthening, joiners, directions
    **{n: str(unicodedata.decimal(chr(n))) for n in range(128, sys.maxunicode + 1) if chr(n).isdecimal()},
}
_FOLDED_MARKS = regex.compile(
    r"(?<=[\p{Latin}\p{Greek}]\p{M}*)\p{Mn}"  # é, ά, ở
    r"|(?<=е)\u0308|(?<=[аеиоуыэюя])[\u0300\u0301]"  # ё; the stress of Russian
    r"|[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7]"  # points of Hebrew
    r"|[\u064b-\u0652\u0656-\u065f\u0670]|(?<=ا)[\u0653-\u0655]"  # vowels of Arabic, hamza and madda of alef
    r"|\u093c"  # the nukta of Devanagari
)
_PARTED = regex.compile(r"(?<=\p{Arabic})\u200c(?=\p{Arabic})")  # Persian writes it, a blank, or nothing
_JOINER = "\u200c"
_NASAL = regex.compile("\u0901|[\u0928\u0919\u091e\u0923\u092e]\u094d(?=[\u0915-\u0939])")


def fold(text: str) -> str:
    """Return `text` in the spelling that terms are made of."""
    if text.isascii():
        return text.casefold().replace("`", "'")
    text = _VULGAR_FRACTION.sub(" ", _THIN_BLANK.sub(",", text.translate(_BEFORE)))
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).casefold()
    text = _PARTED.sub(" ", text.translate(_AFTER)).replace(_JOINER, "")
    text = _FOLDED_MARKS.sub("", unicodedata.normalize("NFD", text))
    text = unicodedata.normalize("NFC", text)
    return str(_NASAL.sub("\u0902", text))  # हिन्दी and हिंदी, चाँद and चांद
