"""Normalised text, and the way back to what PDFium gave."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.pdf.text import normalize, origins

ALPHABET = "ab A-1.\r\n\t\xa0\xad\ufffe\x00\x04\x7fe\u0301\u0302\u212b\u1112\u1161\u11abか\u3099😀\ud800"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("one\r\ntwo\rthree\nfour", "one\ntwo\nthree\nfour"),
        ("a\x00b\x04c\x7f\u200b", "abc"),
        ("a\tb\xa0c", "a b c"),
        ("soft\xadhyphen and soft\xad\r\nbreak", "softhyphen and softbreak"),
        ("cafe\u0301 \u212b", "café Å"),
        ("vulpu\ufffetate metus", "vulputate metus"),
        ("vulpu\ufffe\r\ntate metus", "vulputate metus"),
        ("Rule 13a\ufffe15(e), Non\ufffeGAAP, available-for\ufffesale", "Rule 13a-15(e), Non-GAAP, available-for-sale"),
        ("a long\ufffeterm plan", "a long-term plan"),
        ("e\x00\u0301", "é"),
        ("one\r\n" * 60 + "a tax exempt inter\ufffeest", "one\n" * 60 + "a tax exempt inter-est"),
    ],
)
def test_text_reads_as_people_read_it(raw: str, text: str) -> None:
    assert normalize(raw) == text


@given(st.text(alphabet=ALPHABET, max_size=60))
def test_the_result_is_clean_and_in_nfc(raw: str) -> None:
    text = normalize(raw)
    assert unicodedata.is_normalized("NFC", text)
    assert all(c == "\n" or unicodedata.category(c) not in ("Cc", "Cs") for c in text)
    assert "\xad" not in text and "\ufffe" not in text


@given(st.text(alphabet=ALPHABET, max_size=60), st.data())
def test_origins_of_a_range_are_the_characters_it_was_made_of(raw: str, data: st.DataObject) -> None:
    text = normalize(raw)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    places = origins(raw, start, end)
    assert places == sorted(set(places))
    for place in places:
        assert 0 <= place < len(raw)
    if raw.isascii() and raw.isprintable():
        assert "".join(raw[i] for i in places) == text[start:end]
    assert bool(places) == (start < end)
