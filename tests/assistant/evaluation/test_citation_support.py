import pytest

from assistant.evaluation.citation_support import citation_scores, cited_sentences, is_supported
from assistant.retrieval.search import Passage


def passage(text, document="report.pdf"):
    return Passage(1, document, document, 1, "1", 0, len(text), text, 0.9, "c")


MOON = passage("The Moon is 384,400 kilometers from Earth. Its diameter is 3,474 kilometers.", "moon.pdf")
COSTS = passage("Restructuring costs were $411 million in 2022, after $247 million in 2021. Boeing reported a loss.")
WEATHER = passage("It rained in Lisbon on most days of the winter.")


@pytest.mark.parametrize(
    ("sentence", "cited", "supported"),
    [
        ("The diameter of the Moon is 3,474 kilometers.", MOON, True),
        ("The Moon measures 3,474 kilometers in diameter.", MOON, True),
        ("The diameter of the Moon is 3,744 kilometers.", MOON, False),
        ("The diameter of Mars, not of the Moon, is 3,474 kilometers.", MOON, False),
        ("Restructuring costs came to $0.411 billion.", COSTS, True),
        ("Restructuring costs came to $411 thousand.", COSTS, False),
        ("In 2022, Boeing reported a loss.", COSTS, True),
        ("In 2022, Airbus and Boeing reported a loss.", COSTS, False),
        ("The auditors praised management for prudent hedging of currencies.", COSTS, False),
        ("Restructuring costs fell in winter.", WEATHER, False),
    ],
)
def test_a_passage_supports_a_sentence_with_its_amounts_names_and_words(sentence, cited, supported):
    assert is_supported(sentence, [cited]) is supported


def test_words_from_all_over_a_passage_support_nothing():
    filler = " ".join(
        f"Nothing happened during month number {word}." for word in ("one", "two", "three", "four", "five")
    )
    text = passage(f"Dividends were raised. {filler} Shareholders met. {filler} The board resigned quickly.")
    assert is_supported("Dividends were raised.", [text])
    assert not is_supported("Shareholders resigned, dividends quickly met the board.", [text])


@pytest.mark.parametrize(
    ("text", "recall", "precision"),
    [
        ("The diameter of the Moon is 3,474 kilometers [1].", 1, 1),
        ("The diameter of the Moon is 3,474 kilometers. [1]", 1, 1),
        ("The diameter of the Moon is 3,474 kilometers [3].", 0, 0),
        ("The diameter of the Moon is 3,474 kilometers [1][3].", 1, 0.5),
        ("The diameter of the Moon is 3,474 kilometers.", 0, None),
        ("The diameter of the Moon is 3,474 kilometers [1]. It is made of cheese.", 0.5, 1),
        ("The diameter of the Moon is 3,474 kilometers while restructuring costs were $411 million [1][2].", 1, 1),
        ("", None, None),
    ],
)
def test_recall_counts_sentences_and_precision_counts_needed_citations(text, recall, precision):
    assert citation_scores(text, [MOON, COSTS, WEATHER]) == (recall, precision)


def test_a_citation_that_completes_another_is_needed():
    whole = "the moon is round and the sun is hot"

    def supports(sentence, cited):
        return sentence == f"{whole}." and len(cited) == 2

    assert citation_scores(f"{whole} [1][2].", [MOON, COSTS], supports) == (1, 1)
    assert citation_scores(f"{whole} [1].", [MOON, COSTS], supports) == (0, 0)
    assert citation_scores("Something [1].", [MOON], lambda sentence, cited: None) == (None, None)


def test_an_opening_line_and_an_empty_yes_are_not_sentences_to_support():
    text = "Here are the acquisitions:\nThe firm bought Array [1]. [2] It also sold Therachon [3]."
    assert list(cited_sentences(text)) == [
        ("The firm bought Array.", [1, 2]),
        ("It also sold Therachon.", [3]),
    ]
