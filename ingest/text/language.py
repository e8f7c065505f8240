"""Whether a text is mostly English, by its function words; enough for a warning."""

from __future__ import annotations

import re
import unicodedata

_ENGLISH = "the of and to in is that for with as on by are was be this or from at an not which it"
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


def _mostly_other_script(letters: str) -> bool:
    latin = sum(unicodedata.name(letter, "").startswith("LATIN") for letter in letters)
    return len(letters) >= _MIN_WORDS and latin < len(letters) / 2
