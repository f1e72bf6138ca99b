"""Splits text of any language into search terms; see docs/search.md for the rules."""

from __future__ import annotations

from collections.abc import Container

import regex

from retrieval.words import codes, unspaced
from retrieval.words.folding import fold
from retrieval.words.markup import strip_markup
from retrieval.words.numbers import UNITS, spell_numbers
from retrieval.words.plurals import singular

_NUMBER = r"\d+(?:[./]\d+)*"
_LETTERS = (
    rf"[\p{{L}}\p{{N}}--\p{{Nd}}--[{unspaced.SCRIPTS}ー]][\p{{L}}\p{{M}}\p{{N}}--\p{{Nd}}--[{unspaced.SCRIPTS}ー]]*"
)
_RUN = rf"[[{unspaced.SCRIPTS}ー]&&[\p{{L}}\p{{N}}]][[{unspaced.SCRIPTS}ー\p{{M}}]&&[\p{{L}}\p{{M}}\p{{N}}]]*"
_PART = regex.compile(rf"{_NUMBER}|{_LETTERS}", regex.V1)
_WORD = regex.compile(rf"({_RUN})|(?:{_NUMBER}|{_LETTERS})(?:[-_]?(?:{_NUMBER}|{_LETTERS}))*", regex.V1)
_SPELLABLE = regex.compile(_LETTERS, regex.V1)
_APOSTROPHE = regex.compile(r"(?<=\p{L}\p{M}*)'(?=\p{L})", regex.V1)
#: Articles that French and Italian run together with a word: l'eau is found by eau.
_ELISION = regex.compile(r"(?<![\w'])(?:l|d|j|qu|jusqu|dell|all|dall|nell|sull|un)'(?=[aeiouh])", regex.V1)


class Version3:
    """Keeps marks with their letters and scripts without blanks in pairs; numbers, plurals and codes meet."""

    version = 3

    def normalize(self, text: str) -> str:
        return spell_numbers(_APOSTROPHE.sub("", _folded(text)))

    def document(self, text: str) -> list[str]:
        folded = _folded(text)
        terms = self._terms(spell_numbers(_APOSTROPHE.sub("", folded)), None)
        if "'" in folded:
            elided = (folded[found.end() :] for found in _ELISION.finditer(folded))
            terms += [singular(word[0]) for word in map(_SPELLABLE.match, elided) if word is not None]
        return terms

    def query(self, text: str, known: Container[str]) -> list[str]:
        folded = _folded(text)
        if "'" in folded:
            folded = _ELISION.sub(lambda found: _article(found, folded, known), folded)
        return self._terms(spell_numbers(_APOSTROPHE.sub("", folded)), known)

    def has_meaning(self, text: str) -> bool:
        found = _WORD.finditer(self.normalize(text))
        return any(word[1] or word[0].isalpha() or codes.has_meaning(word[0], _PART.findall(word[0])) for word in found)

    def lone_codes(self, text: str, known: Container[str]) -> list[str]:
        lone = []
        for found in _WORD.finditer(self.normalize(text)):
            word, parts = found[0], _PART.findall(found[0])
            if found[1] or len(parts) == 1 or not codes.is_unknown(word, parts, known):
                return []
            lone.append("".join(parts))
        return lone

    def is_word(self, term: str) -> bool:
        return _SPELLABLE.fullmatch(term) is not None

    def _terms(self, text: str, known: Container[str] | None) -> list[str]:
        """Return the terms of normalised `text`: those to index, or those to ask an index that has `known`."""
        terms: list[str] = []
        after_number = False
        for found in _WORD.finditer(text):
            word = found[0]
            if found[1]:
                terms += unspaced.terms_of_text(word) if known is None else unspaced.terms_of_query(word, known)
                after_number = False
            elif word.isalpha():
                term = singular(word)
                terms.append(UNITS.get(term, term) if after_number else term)
                after_number = False
            else:
                parts: list[str] = []
                for part in _PART.findall(word):
                    term = singular(part)
                    parts.append(UNITS.get(term, term) if after_number else term)
                    after_number = part[0].isdigit()
                terms += _of_code(word, parts, known)
        return terms


def _of_code(word: str, parts: list[str], known: Container[str] | None) -> list[str]:
    """Return the terms of a word that is not letters alone."""
    if len(parts) == 1:
        return parts
    names = codes.names(word)
    if known is None:
        return parts + names
    if codes.is_plain(word, parts):
        return parts + [name for name in names if name in known]
    return codes.asked(word, parts, known) + [name for name in names if name in known]


def _folded(text: str) -> str:
    if "&" in text or "<" in text:
        text = strip_markup(text)
    return fold(text)


def _article(found: regex.Match[str], text: str, known: Container[str]) -> str:
    """Return the article where it belongs to a word that is known with it (l'oréal: loreal), else nothing."""
    rest = _SPELLABLE.match(text, found.end())
    article = found[0].rstrip("'")
    return article if rest is not None and singular(article + rest[0]) in known else " "
