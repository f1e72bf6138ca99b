"""Words alone find all that is right in small catalogs of three languages, for words and for parts of words."""

from __future__ import annotations

import pytest

from retrieval.bm25 import BM25Index

CHINESE = (
    ["无线蓝牙", "降噪", "运动", "儿童", "折叠", "便携", "不锈钢", "北欧风"],
    ["耳机", "雨伞", "水杯", "书包", "台灯", "键盘", "跑步鞋", "连衣裙", "笔记本电脑", "充电宝"],
)
JAPANESE = (
    ["折りたたみ", "ステンレス", "子供用", "軽量", "防水", "北欧", "コードレス", "大容量"],
    [
        "傘",
        "水筒",
        "リュックサック",
        "掃除機",
        "イヤホン",
        "カーテン",
        "本棚",
        "枕カバー",
        "ガラスコップ",
        "電気ケトル",
    ],
)
HINDI = (
    ["लाल ", "नया ", "सस्ता ", "बच्चों का ", "हल्का ", "सूती ", "लकड़ी का ", "सुंदर "],
    ["जूता", "किताब", "साबुन", "कमीज", "दीवार", "घड़ी", "लैंप", "चादर", "थैला", "खिलौना"],
)


@pytest.mark.parametrize("catalog", [CHINESE, JAPANESE, HINDI], ids=["Chinese", "Japanese", "Hindi"])
def test_every_word_finds_all_its_items_among_the_first_ten(catalog: tuple[list[str], list[str]]) -> None:
    kinds, things = catalog
    titles = [kind + thing for kind in kinds for thing in things]
    index = BM25Index.build(titles)
    for word in (*kinds, *things):
        right = {n for n, title in enumerate(titles) if word.strip() in title}
        assert len(right) <= 10
        assert right <= set(index.search(word.strip(), 10)[0].tolist()), word


@pytest.mark.parametrize("catalog", [CHINESE, JAPANESE], ids=["Chinese", "Japanese"])
def test_every_part_of_two_characters_and_more_finds_all_its_items(catalog: tuple[list[str], list[str]]) -> None:
    kinds, things = catalog
    titles = [kind + thing for kind in kinds for thing in things]
    index = BM25Index.build(titles)
    parts = {word[i:j] for word in (*kinds, *things) for i in range(len(word)) for j in range(i + 2, len(word) + 1)}
    for part in sorted(parts):
        right = {n for n, title in enumerate(titles) if part in title}
        if len(right) <= 10:
            assert right <= set(index.search(part, 10)[0].tolist()), part
