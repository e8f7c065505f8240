import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.text.sentences import sentence_breaks, split_sentences


def texts(text: str, **options) -> list[str]:
    return [sentence.text for sentence in split_sentences(text, **options)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two is here! Three?", ["One.", "Two is here!", "Three?"]),
        ("Mr. Smith of Acme Inc. Paid.", ["Mr. Smith of Acme Inc. Paid."]),
        ("U.S. Treasury bonds of J. P. Morgan. The end.", ["U.S. Treasury bonds of J. P. Morgan.", "The end."]),
        ("Made in the USA. The next.", ["Made in the USA.", "The next."]),
        ("He said “no.” Then he left.", ["He said “no.”", "Then he left."]),
        ("See p. 5 (and e.g. the notes). Then go.", ["See p. 5 (and e.g. the notes).", "Then go."]),
        ("A line\nthat goes on. Next.", ["A line\nthat goes on.", "Next."]),
        ("Sales 12 13\nCosts 4 5\nThat is all.", ["Sales 12 13", "Costs 4 5", "That is all."]),
        ("Title\n\nA paragraph", ["Title", "A paragraph"]),
        ("It fell to 3.5 percent. in all", ["It fell to 3.5 percent. in all"]),
        ("   ", []),
    ],
)
def test_text_is_cut_into_sentences_and_table_rows(text, expected):
    assert texts(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Продажи выросли. Прибыль упала на 5%. Ёлка.", ["Продажи выросли.", "Прибыль упала на 5%.", "Ёлка."]),
        ("売上が増えた。利益は減った！本当？", ["売上が増えた。", "利益は減った！", "本当？"]),
        ("「はい。」次へ", ["「はい。」", "次へ"]),
        (
            "Das Gerät ist neu. Über die Garantie entscheidet z. B. der Händler. Ändern Sie Nr. 5 nicht.",
            ["Das Gerät ist neu.", "Über die Garantie entscheidet z. B. der Händler.", "Ändern Sie Nr. 5 nicht."],
        ),
        ("Le résultat a baissé. « Oui. » Écrivez-nous.", ["Le résultat a baissé.", "« Oui. »", "Écrivez-nous."]),
        ("¿Qué es? ¡Nada! El fin.", ["¿Qué es?", "¡Nada!", "El fin."]),
        ("यह पहला है। यह दूसरा है।", ["यह पहला है।", "यह दूसरा है।"]),
        ("هل هذا صحيح؟ نعم.", ["هل هذا صحيح؟", "نعم."]),
    ],
)
def test_sentences_end_in_any_script(text, expected):
    assert texts(text) == expected


@given(st.text(alphabet="ab .!?\n12,A«»。я", max_size=200))
def test_every_sentence_is_verbatim_and_no_word_is_lost(text):
    found = split_sentences(text)
    assert all(text[sentence.start : sentence.end] == sentence.text for sentence in found)
    assert "".join("".join(sentence.text.split()) for sentence in found) == "".join(text.split())


@given(st.text(alphabet="ab .!?\n12,A«»。я", max_size=200))
def test_breaks_are_in_order_and_hold_nothing_but_white_space(text):
    last = 0
    for end, following in sentence_breaks(text, 0, len(text)):
        assert last <= end <= following
        assert not text[end:following].strip()
        last = following


def test_a_skipped_range_belongs_to_no_sentence():
    assert texts("ACME Corp 10-K\nSales rose.", skip=[(0, 15)]) == ["Sales rose."]
    assert texts("Sales rose\nACME Corp\nby half.", skip=[(11, 21)]) == ["Sales rose", "by half."]
