"""Telling English from other languages."""

from __future__ import annotations

import re

import pytest

from ingest.text.language import asking_words, capitalizes_nouns, mostly_english


@pytest.mark.parametrize(
    ("text", "english"),
    [
        (
            "The report shows that sales of the company were higher in the year and that costs fell with them. " * 3,
            True,
        ),
        (
            "Der Bericht zeigt, dass die Umsätze der Firma im Jahr höher waren und die Kosten mit ihnen fielen. " * 3,
            False,
        ),
        (
            "Le rapport montre que les ventes de la société ont augmenté dans l'année et que les coûts ont baissé. "
            * 3,
            False,
        ),
        (
            "El informe muestra que las ventas de la empresa fueron más altas en el año y que los costes bajaron. " * 3,
            False,
        ),
        ("يوضح التقرير أن مبيعات الشركة كانت أعلى في هذا العام وأن التكاليف انخفضت معها بشكل كبير", False),
        ("Отчёт показывает, что продажи компании в этом году выросли, а затраты снизились", False),
        (
            "報告書によると、今年の会社の売上は増加し、それに伴って費用は減少したことが示されている。利益も増えた。",
            False,
        ),
        ("12,345 11,987 8,001 7,654 (1,234) 5.6 % " * 40, True),
        ("Total current assets 12,345 Total liabilities 8,001 Net income 1,234 Inventories 77 " * 8, True),
        ("Bonjour", True),
        ("", True),
    ],
)
def test_only_other_languages_are_not_taken_for_english(text: str, english: bool) -> None:
    assert mostly_english(text) is english


@pytest.mark.parametrize(
    ("question", "asking"),
    [
        ("Wie hoch ist die Kaution?", {"wie", "hoch", "ist", "die"}),
        ("¿Cuánto dura la garantía?", {"cuánto", "la"}),
        ("Quelle est la durée de la garantie ?", {"quelle", "est", "la", "de"}),
        ("Kaution", set()),
        ("Who is on the board in 2022?", set()),
        ("What did die Zeit say?", set()),
    ],
)
def test_words_that_only_ask_are_told_by_the_language_of_the_question(question, asking):
    words = set(re.findall(r"[^\W\d_]+", question.lower()))
    assert words & asking_words(question) == asking


@pytest.mark.parametrize(
    ("question", "german"), [("Wann beginnt die Miete?", True), ("When does the rent begin?", False), ("Miete?", False)]
)
def test_only_german_questions_capitalize_nouns(question, german):
    assert capitalizes_nouns(question) is german
