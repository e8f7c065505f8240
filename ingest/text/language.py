"""The language of a text, by its function words: for a warning, and for what a question asks about."""

from __future__ import annotations

import re
import unicodedata

_ENGLISH = "the of and to in is that for with as on by are was be this or from at an not which it"
_ENGLISH_QUESTION = frozenset(
    (_ENGLISH + " what who when where why how which do does did can i my a we has have").split()
)
_OTHERS = tuple(
    frozenset(words.split())
    for words in (
        "der die das und ist nicht mit von den zu ein eine auf für im dem des sich auch als wird",  # German
        "le la les des et est une dans que pour qui du sur pas par au avec ce sont aux",  # French
        "el la los las de que y en un una por con para es del se como al su más",  # Spanish
        "il la di che e un una per con del della sono non nel alla gli dei si è le",  # Italian
        "o a os as de que e do da em um uma para com não por dos das no na ao",  # Portuguese
        "de het een en van is dat op te in voor met niet zijn aan er die door ook wordt",  # Dutch
        "i w na z do się nie że jest to o jak po przez dla od oraz są był która",  # Polish
        "och att det som en på är av för med den till inte har om ett var de",  # Swedish
        "ve bir bu da de için ile olarak olan en çok daha gibi kadar her sonra",  # Turkish
    )
)
# what questions in the same languages begin with; they ask for something, and name nothing
_QUESTIONS = tuple(
    frozenset(words.split())
    for words in (
        "wie was wer wen wem wann wo wohin woher warum weshalb welche welcher welches welchen wieviel wieviele viele lange hoch"
        " darf muss kann gibt hat sind wird werden bin ich man mein meine",
        "de d l quoi quel quelle quels quelles combien quand comment où pourquoi peut doit je mon ma mes y t",
        "qué quién quiénes cuál cuáles cuánto cuánta cuántos cuántas cuándo cómo dónde puede debe tiene hay es son mi",
        "chi cosa quale quali quanto quanta quanti quante quando come dove perché posso ha",
        "quem qual quais quanto quanta quantos quantas quando como onde posso tem",
        "wat wie waar wanneer hoeveel hoe welke waarom mag moet kan ik mijn",
        "co kto kiedy gdzie ile jaki jaka jakie dlaczego czy",
        "vad vem när var hur vilken vilket vilka varför får jag",
        "ne kim nerede kaç nasıl hangi neden mi",
    )
)
_GERMAN = 0
_MIN_WORDS = 30  # below, there is too little to decide: a table of numbers has no language


def mostly_english(text: str) -> bool:
    """Return whether a text suits an English model; True where it has too few words to decide."""
    words = re.findall(r"[^\W\d_]+", text.casefold())
    if _mostly_other_script("".join(words)):
        return False
    if len(words) < _MIN_WORDS:
        return True
    english_words = frozenset(_ENGLISH.split())
    english = sum(word in english_words for word in words)
    other = max(sum(word in stop_words for word in words) for stop_words in _OTHERS)
    return not (other > english and other >= 0.08 * len(words))


def asking_words(question: str) -> frozenset[str]:
    """Return the words of a question's language that say nothing about its subject; none for English.

    "Wie hoch ist die Kaution?" asks about "Kaution".
    """
    language = _other_language(question)
    return frozenset() if language is None else _OTHERS[language] | _QUESTIONS[language]


def capitalizes_nouns(question: str) -> bool:
    """Return whether a question is German, where a capital letter makes no name."""
    return _other_language(question) == _GERMAN


def _other_language(question: str) -> int | None:
    """Return the language that knows most words of a question, None where it is English or no other knows two."""
    words = re.findall(r"[^\W\d_]+", question.casefold())
    known = [sum(word in both for word in words) for both in map(frozenset.union, _OTHERS, _QUESTIONS)]
    english = sum(word in _ENGLISH_QUESTION for word in words)
    most = max(known)
    return known.index(most) if most >= 2 and most > english else None


def _mostly_other_script(letters: str) -> bool:
    latin = sum(unicodedata.name(letter, "").startswith("LATIN") for letter in letters)
    return len(letters) >= _MIN_WORDS and latin < len(letters) / 2
