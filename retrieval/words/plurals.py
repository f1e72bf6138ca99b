"""Brings the singular and the plural of English nouns to one term, which need not be a word: both become "hoody".

The dictionary is lemminflect's (the NIH's lexicon); nouns that it does not have go by rule.
"""

from __future__ import annotations

from functools import lru_cache

import lemminflect

SHORTEST = 4
#: Where the dictionary thinks of another word than a shop does.
_EXCEPTIONS = {"leaves": "leaf", "ax": "axe", "dice": "dice"}
_VOWELS = frozenset("aeiouy")


@lru_cache(maxsize=1 << 16)
def singular(word: str) -> str:
    """Return the term of `word`, a folded word of letters; what is not English is hardly ever changed."""
    if word in _EXCEPTIONS:
        return _EXCEPTIONS[word]
    if not word.isascii():
        return word
    if len(word) < SHORTEST:
        return word[:-1] if len(word) == 3 and word[-1] == "s" and not _VOWELS.intersection(word) else word  # tvs, lbs
    found = _known(word) or _known(_by_rule(word)) or _by_rule(word)
    return found[:-2] + "y" if found.endswith("ie") and len(found) >= SHORTEST else found


def _known(word: str) -> str:
    """Return the singular of `word` by the dictionary, "" if it has none."""
    if word.endswith("a"):
        return word  # candelabra, media: Latin plurals, of which a shop says no singular
    lemmas = lemminflect.getLemma(word, "NOUN", lemmatize_oov=False)
    if word in lemmas and word.endswith(("ars", "ers", "ors")):
        return word[:-1]  # pliers, scissors: a plier, and a scissor jack
    return str(lemmas[0]) if lemmas else ""


def _by_rule(word: str) -> str:
    """Take the s of a plural off `word`."""
    if len(word) < SHORTEST or word[-1] != "s" or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > SHORTEST:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "zes")):
        return word[:-2]
    return word[:-1]
