import pytest

from assistant.relevance import MISSING_NAMES, names_in, relevance


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("What is the FY2018 capital expenditure amount (in USD millions) for 3M?", ["2018", "usd", "3m"]),
        ("How long does the warranty last?", []),
        ("AMD's margin? Compare it with Intel.", ["amd", "intel"]),
        ("what did McDonald's sell in Q3 2020", ["mcdonald", "q3", "2020"]),
        ("Who is J&J?", ["j&j"]),
        ("", []),
    ],
)
def test_names_are_capitals_inside_a_sentence_codes_and_numbers(question, names):
    assert names_in(question) == names


@pytest.mark.parametrize(
    ("names", "text", "document", "expected"),
    [
        ([], "anything", "a.pdf", 0.6),
        (["3m"], "3M sold tape.", "a.pdf", 0.6),
        (["3m"], "sold tape", "3M_2018_10K.pdf", 0.6),
        (["express"], "cards", "AMERICANEXPRESS_2022.pdf", 0.6),
        (["3m"], "Nike sold shoes.", "NIKE.pdf", 0.6 * (1 - MISSING_NAMES)),
        (["3m", "2018"], "in 2018", "NIKE.pdf", 0.6 * (1 - MISSING_NAMES / 2)),
    ],
)
def test_what_is_named_and_missing_lessens_the_score(names, text, document, expected):
    assert relevance(names, 0.6, text, document) == pytest.approx(expected)
