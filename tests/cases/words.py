"""Cases 22 to 28: words as shoppers type them, against titles as shops write them. Without a stack."""

from __future__ import annotations

from retrieval.bm25 import BM25Index
from tests.cases.case import Case, Given, Looks

#: No query here means one of these.
OTHERS = (
    "Walnut bench", "Garden sprinkler", "Marble bookend", "Linen napkin grey", "Copper kettle", "Wool rug 80 cm",
    "Rain gauge", "Slate coaster", "Brass hook", "Cork mat",
)  # fmt: skip
PLURALS = (
    ("Smoothie maker", "smoothies"), ("Movies of the year", "movie"), ("Kitchen knives", "knife"),
    ("Hiking scarves", "scarf"), ("Reading glasses", "glass"), ("Tie box", "ties"), ("Berry bowls", "berries"),
    ("Leaves rake", "leaf"), ("Boxes with lid", "box"), ("Torches solar", "torch"), ("Wolves poster", "wolf"),
    ("Calves stretcher", "calf"), ("Pies tin", "pie"), ("Atlases of the world", "atlas"), ("Brushes set", "brush"),
)  # fmt: skip
DECIMALS = (
    ("Router bit {0} in", ".75", "75"), ("Cable tie {0} mm", ".36", "36"), ("Needle {0} gauge", ".4", "4"),
    ("Wire {0} mm", ".8", "8"), ("Paint {0} l", ".9", "9"),
)  # fmt: skip
MARKUP = (
    ("Hammer &amp; nail set", "hammer nail set"), ("Men&#39;s cr&egrave;me", "mens crème"),
    ("Pine<br>shelf", "pine shelf"), ("<b>Iron</b> gate", "iron gate"), ("T&eacute; verde", "té"),
    ("Fish &amp;amp; chips paper", "fish chips"), ("Tea&nbsp;strainer", "strainer"),
)  # fmt: skip
UNSPACED = (
    ("防水登山背包", "登山背包"), ("北欧陶瓷花瓶", "花瓶"), ("电动牙刷替换头", "牙刷"), ("木製折りたたみ椅子", "椅子"),
    ("ステンレス包丁", "包丁"), ("冬用手袋レディース", "手袋"), ("휴대용선풍기", "선풍기"),
)  # fmt: skip
HINDI = (
    ("सूती चादर नीली", "चादर", "चा"), ("मिट्टी का घड़ा", "घड़ा", "घ"), ("पीतल दीपक", "दीपक", "दी"),
    ("ऊनी मोज़े", "मोजे", "मो"), ("लकड़ी की कुर्सी", "कुर्सी", "कु"),
)  # fmt: skip


def check_plurals(looks: Looks, given: Given) -> None:
    """One title of each pair, asked for in the other number."""
    _first(looks, given, given.draw.sample(PLURALS, 8))


def check_decimals(looks: Looks, given: Given) -> None:
    """A fraction with and without its nought is one number, and ten times it is another."""
    for title, fraction, whole in given.draw.sample(DECIMALS, 3):
        titles = [*OTHERS, title.format(whole), title.format(fraction)]
        index = BM25Index.build(titles)
        for asked in (fraction, f"0{fraction}", f"0{fraction}0"):
            looks.equal(f"{title.format(asked)}:", titles[-1], titles[_best(index, title.format(asked))])
        looks.equal(f"{title.format(whole)}:", titles[-2], titles[_best(index, title.format(whole))])


def check_markup(looks: Looks, given: Given) -> None:
    """Entities are letters, tags are none, and neither can be asked for."""
    pairs = given.draw.sample(MARKUP, 4)
    _first(looks, given, [*pairs, ("Guitar amp 30 W", "amp")])
    found, _ = BM25Index.build([title for title, _ in MARKUP]).search("br amp nbsp", 5)
    looks.equal("titles found by their markup", 0, len(found))


def check_unspaced(looks: Looks, given: Given) -> None:
    """A word in the middle of a title without blanks finds it."""
    _first(looks, given, given.draw.sample(UNSPACED, 4))


def check_hindi(looks: Looks, given: Given) -> None:
    """A word with its marks finds its title; a part of its letters finds nothing."""
    rows = given.draw.sample(HINDI, 3)
    _first(looks, given, [(title, query) for title, query, _ in rows])
    index = BM25Index.build([title for title, _, _ in rows])
    for _, _, part in rows:
        looks.equal(f"{part} finds", 0, len(index.search(part, 3)[0]))


def _first(looks: Looks, given: Given, pairs: list[tuple[str, str]]) -> None:
    titles = [*given.draw.sample(OTHERS, 6), *(title for title, _ in pairs)]
    given.draw.shuffle(titles)
    index = BM25Index.build(titles)
    wrong = [query for title, query in pairs if (n := _best(index, query)) < 0 or titles[n] != title]
    looks.equal(f"of {len(pairs)} queries ({', '.join(query for _, query in pairs)}) not answered first:", [], wrong)


def _best(index: BM25Index, query: str) -> int:
    found, _ = index.search(query, 1)
    return int(found[0]) if len(found) else -1


CASES = (
    Case("22", "plurals", "singular and plural find each other first", "nothing", check_plurals),
    Case("23", "leading dot", ".75 is 0.75 and not 75", "nothing", check_decimals),
    Case("25", "HTML in titles", "entities are letters, tags are none", "nothing", check_markup),
    Case("26", "Chinese, Japanese, Korean", "words in the middle are found", "nothing", check_unspaced),
    Case("28", "Hindi", "words stay whole", "nothing", check_hindi),
)
