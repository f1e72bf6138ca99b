"""Takes HTML out of a text: entities become what they stand for, tags go."""

from __future__ import annotations

import html
import re

#: With its semicolon any entity; without, only those that people leave it off and that are no part of a word.
_ENTITY = re.compile(
    r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});|&(?:amp|nbsp|quot|lt|gt)(?![A-Za-z0-9])"
)
#: Only what is an element of HTML: "Cable <2 m>" and "<New> Lamp" are words.
_INLINE = (
    "a|abbr|b|bdi|bdo|big|cite|code|del|em|font|i|ins|kbd|mark|q|s|samp|small|span|strike|strong|sub|sup|tt|u|var|wbr"
)
_BLOCK = (
    "address|article|aside|blockquote|body|br|button|caption|center|col|colgroup|dd|details|div|dl|dt|fieldset|"
    "figcaption|figure|footer|form|h[1-6]|head|header|hr|html|iframe|img|input|label|legend|li|link|main|meta|nav|"
    "object|ol|optgroup|option|p|picture|pre|section|select|source|summary|svg|table|tbody|td|template|textarea|tfoot|"
    "th|thead|title|tr|ul|video"
)
_UNREAD = re.compile(r"<!--.*?-->|<(script|style)\b[^>]*>.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
_INLINE_TAG = re.compile(rf"</?(?:{_INLINE})(?:\s[^<>]*)?/?>", re.IGNORECASE)
_BLOCK_TAG = re.compile(rf"</?(?:{_BLOCK})(?:\s[^<>]*)?/?>", re.IGNORECASE)
#: How often a text may have been escaped: "&amp;amp;eacute;" is seen where two systems each escape once too often.
_LAYERS = 3


def strip_markup(text: str) -> str:
    """Return `text` without tags and with its entities decoded; what is not HTML stays as it is.

    A tag within a line (<b>, <sup>) vanishes, one that begins or ends a block (<br>, <li>) parts words.
    """
    for _ in range(_LAYERS):
        before = text
        if "<" in text:
            text = _BLOCK_TAG.sub(" ", _INLINE_TAG.sub("", _UNREAD.sub(" ", text)))
        if "&" in text:
            text = _ENTITY.sub(lambda found: html.unescape(found[0]), text)
        if text == before:
            break
    return text
