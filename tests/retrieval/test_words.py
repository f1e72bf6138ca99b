"""What counts as the same word, one table a kind: each row is what a shop writes, and what a person types for it."""

from __future__ import annotations

import pytest

from retrieval.bm25 import BM25Index

#: Never meant by any query here; they hold what a wrong cut would match.
OTHERS = ["Lamp no. 8", "Lamp no. 1", "Board 5 in", "Pellets 22", "Washer 25 mm", "Black and white frame", "Amp 20 W"]

MEETING = {
    "plurals": [
        *[("hoodies", "hoodie"), ("cookies", "cookie"), ("axes", "axe"), ("lenses", "lens"), ("shelves", "shelf")],
        *[("buses", "bus"), ("beanies", "beanie"), ("knives", "knife"), ("selfies", "selfie"), ("scarves", "scarf")],
        *[("brooches", "brooch"), ("canvases", "canvas"), ("vases", "vase"), ("mice", "mouse"), ("loaves", "loaf")],
        *[("trellises", "trellis"), ("tweezers", "tweezer"), ("TVs", "tv"), ("children's", "childrens")],
        *[("batteries", "battery"), ("cacti", "cactus"), ("toothbrushes", "toothbrush"), ("onesies", "onesie")],
        *[("smoothies", "smoothie"), ("leggings", "legging"), ("women’s", "womens"), ("hoses", "hose")],
    ],
    "decimals": [
        *[(".5 in", "0.5 in"), (".25", "0.25"), ("0.75", ".75"), (".22", "0.22"), ("0.50", ".5"), ("2.50", "2.5")],
        *[("٫٥", ".5"), ("．5", "0.5"), ("0,5 l", ".5 l"), ("(.30)", "0.3"), ("3x.5", "3 x 0.5"), ("$.99", "0.99")],
    ],
    "numbers": [
        *[("1,000", "1000"), ("1000", "1,000"), ("12,500,000", "12500000"), ("1,00,000", "100000")],
        *[("1'000", "1000"), ("1\u202f000", "1000"), ("١٬٠٠٠", "1000"), ("1½", "1 1/2"), ("¾", "3/4")],
        *[("6'", "6 ft"), ("5'11\"", "5 feet 11 inches"), ("72”", "72 in"), ("4″", "4 inch"), ("6′", "6 foot")],
        *[("3''", '3"'), ("80's", "80s")],
    ],
    "digits": [
        *[("١٢٣", "123"), ("123", "١٢٣"), ("۴۵۶", "456"), ("456", "۴۵۶"), ("７８９", "789"), ("१२", "12")],
        *[("௧௨௩", "123"), ("๔๒", "42"), ("༣༤", "34"), ("①②", "12"), ("𝟗𝟗", "99"), ("１２Ｖ", "12 v")],
    ],
    "apostrophes": [
        *[("Men's", "mens"), ("mens", "men’s"), ("L'Oréal", "loreal"), ("L’Oréal", "oreal"), ("Levi´s", "levis")],
        *[("Kid`s", "kids"), ("d'eau", "eau"), ("Ｌevi＇s", "levi's"), ("O'Neill", "oneill"), ("dell'arte", "arte")],
        *[("Children&#39;s", "childrens"), ("rockʼn", "rock'n")],
    ],
    "markup": [
        *[("caf&eacute;", "café"), ("caf&#233;", "cafe"), ("caf&#xE9;", "café"), ("caf&amp;eacute;", "café")],
        *[
            ("Oak<br>table", "oak table"),
            ("<b>O</b>ak", "oak"),
            ("Oak<br/>table", "table"),
            ("<p class='x'>Oak</p>", "oak"),
        ],
        *[("H<sub>2</sub>O", "h2o"), ("<New> Oak", "new"), ("Oak&nbsp;table", "table"), ("a < b oak", "oak")],
        *[("&lt;b&gt;Oak&lt;/b&gt;", "oak"), ("7&#34; oak", "7 in"), ("<script>oak</script>pine", "pine")],
    ],
    "model numbers": [
        *[("AB-1234", "ab1234"), ("AB-1234", "ab-1234"), ("AB-1234", "1234"), ("AB1234", "ab-1234")],
        *[("WH-1000XM9", "wh1000xm9"), ("WH-1000XM9", "1000xm9")],
        *[("WH 1000XM9", "wh-1000xm9"), ("WH-1000XM9", "xm9")],
        *[("DCD771C2", "dcd771"), ("RX_580", "rx580"), ("iPhone 15", "iphone15")],
        *[("АК-47", "ак47"), ("M12x40", "m12")],
        *[("978-3-16-148410-0", "9783161484100"), ("18V", "18 v"), ("2x4", "2 x 4"), ("3fa85f64", "3FA85F64")],
    ],
    "marks that a language leaves out": [
        *[
            ("crème brûlée", "creme brulee"),
            ("łóżko", "lozko"),
            ("Ørsted", "orsted"),
            ("IŞIK", "ışık"),
            ("größe", "grosse"),
        ],
        *[("đèn ngủ", "den ngu"), ("άρωμα", "αρωμα"), ("ёлка", "елка"), ("كِتَاب", "كتاب"), ("أحمر", "احمر")],
        *[("کتاب", "كتاب"), ("شَلْوَار", "شلوار"), ("מַחְבֶּרֶת", "מחברת")],
        *[("हिन्दी", "हिंदी"), ("चाँद", "चांद"), ("मेज़", "मेज")],
        *[("می\u200cخواهم", "می خواهم"), ("naïve", "nai\u0308ve")],
    ],
    "scripts without blanks": [
        *[
            ("无线蓝牙耳机", "蓝牙耳机"),
            ("儿童雨伞折叠", "雨伞"),
            ("折りたたみ傘", "傘"),
            ("联想笔记本电脑 14英寸", "笔记本电脑"),
        ],
        *[
            ("ステンレス水筒", "水筒"),
            ("ｶﾞﾗｽのｺｯﾌﾟ", "ガラスのコップ"),
            ("青い傘", "赤い傘"),
            ("무선이어폰", "이어폰"),
            ("红色连衣裙夏季", "裙"),
        ],
        *[
            ("รองเท้าวิ่งผู้ชาย", "รองเท้า"),
            ("โคมไฟตั้งโต๊ะ", "โต๊ะ"),
            ("コンピューター台", "コンピューター"),
            ("電子書", "子書"),
        ],
        *[("ເກີບແລ່ນ", "ເກີບ"), ("ស្បែកជើងរត់", "ស្បែកជើង"), ("iPhone手机壳", "手机壳"), ("USB充電器", "usb")],
    ],
}
#: What a title has, and a query that must not find it.
PARTING = {
    "numbers": [
        *[("10 mm", "1.0 mm"), ("3.5 in", "35 in"), ("1/2 in", "12 in"), ("2,5 l", "25 l"), ("0.75", "75")],
        *[("5 in", ".5 in"), (".5 in", "5 in"), ("22", ".22"), (".25", "25"), ("No.5", ".5"), ("1000", "1,0")],
    ],
    "markup": [
        ("Salt &amp; pepper", "amp"),
        ("A &quot;B&quot;", "quot"),
        ("Tea&nbsp;cup", "nbsp"),
        ("Oak<br>bed", "br"),
        *[("Men&#39;s belt", "39"), ("A &lt; B", "lt"), ("<b>Oak</b> bed", "b"), ("<p class='x'>Oak</p>", "class")],
        *[("Caf&eacute; chair", "eacute"), ("Cup&#xE9;", "xe9")],
    ],
    "letters": [
        *[
            ("ガラス", "カラス"),
            ("カラス", "ガラス"),
            ("はは", "ぱぱ"),
            ("कम लागत", "कमाल"),
            ("काम", "कम"),
            ("มา", "ม้า"),
        ],
        *[("май", "маи"), ("किताब", "क"), ("बाल", "बल"), ("كتاب", "ك"), ("หมา", "มา้")],
    ],
    "identifiers": [
        *[
            ("Lamp no. 8", "8f3a9c1e77"),
            ("Lamp 77", "8f3a9c1e77"),
            ("Bolt 9 x 3", "9c3f1a8b2d"),
            ("41 02 lamp", "a41b9c02d7"),
        ],
        *[("550 29 41", "550e8400-e29b-41d4-a716-446655440000"), ("12 in hinge", "c0ffee12")],
        *[("0 deck", "deadbeef0")],
        *[
            ("5 a lamp", "5a7c1"),
            ("9 hinge", "9abcdeff"),
            ("64 gb", "3fa85f64"),
            ("7 a", "d41d8cd98f00b204e9800998ecf8427e"),
        ],
    ],
}


def rows(table: dict[str, list[tuple[str, str]]]) -> list[object]:
    return [pytest.param(*row, id=f"{kind}: {row[1]} / {row[0]}") for kind, found in table.items() for row in found]


@pytest.mark.parametrize(("title", "query"), rows(MEETING))
def test_a_query_finds_the_title_that_means_it_first(title: str, query: str) -> None:
    index = BM25Index.build([*OTHERS, f"{title} zebra"])
    found, _ = index.search(query, 3)
    assert found[:1].tolist() == [len(OTHERS)], index.terms(query)


@pytest.mark.parametrize(("title", "query"), rows(PARTING))
def test_a_query_does_not_find_what_only_looks_alike(title: str, query: str) -> None:
    found, score = BM25Index.build([title, "quartz clock"]).search(query, 3)
    # a part that both have ("in") may still match, but never the whole of it
    own, best = BM25Index.build([title, "quartz clock"]).search(title, 1)
    assert not len(found) or score[0] < best[0], own


def test_every_kind_has_siblings() -> None:
    assert min(map(len, [*MEETING.values(), *PARTING.values()])) >= 10
