"""Problems of training data, found before training: duplicates, contradictions, lengths, leakage."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

from finetune.data.near_duplicates import find_near_duplicates
from finetune.data.records import Conversation, Label, Preference, Record, Text, answers_of, prompt_of
from finetune.data.sources.loaded import LoadedData
from finetune.data.sources.problem import Problem
from finetune.data.sources.rendered import leftover_marks
from finetune.templates.messages import Message
from finetune.templates.template import Template

NGRAM = 13  # consecutive words that test and training must not share, as in the GPT-3 paper
MAX_LENGTH_BIAS = 0.65  # share of pairs with the longer answer chosen; above it, a model learns to prefer length
_MISSING_WORDS = ("nan", "none", "null", "undefined", "n/a", "<noinput>", "noinput")
CHARACTERS_PER_TOKEN = 4  # an estimate for English, without a tokenizer


@dataclass(slots=True)
class Report:
    """The problems of one or more data sets, with counts by kind and statistics of lengths."""

    format: str
    rows: int
    kept: int
    records: int
    problems: list[Problem] = field(default_factory=list)
    lengths: dict[str, float] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)  # fields of the rows that have no effect
    notices: list[str] = field(default_factory=list)  # what was decided about files and fields

    @property
    def counts(self) -> dict[str, int]:
        """Count the problems by kind."""
        return dict(sorted(Counter(problem.kind for problem in self.problems).items()))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values for JSON."""
        return {
            "format": self.format,
            "rows": self.rows,
            "kept": self.kept,
            "records": self.records,
            "counts": self.counts,
            "lengths": self.lengths,
            "fields_without_effect": self.unread,
            "notices": self.notices,
            "problems": [problem.to_dict() for problem in self.problems],
        }


def check(
    loaded: LoadedData,
    *,
    test: Sequence[Record] = (),
    template: Template | None = None,
    tokenizer: Any = None,
    max_length: int = 2048,
) -> Report:
    """Return every problem of loaded data.

    `test` are held-out records that training records must not repeat. Lengths and `max_length` are in tokens, which
    are estimated from characters without a template and a tokenizer.
    """
    records = loaded.records
    report = Report(loaded.format, loaded.rows, loaded.kept, len(records), list(loaded.problems))
    report.unread, report.notices = loaded.unread, loaded.notices
    unique: list[int] = []
    report.problems += _exact_duplicates(records, unique)
    report.problems += _near_duplicates(records, unique)
    report.problems += _contradictions(records)
    report.problems += _one_label(records)
    report.problems += _repeated_prompts(records)
    report.problems += _template_marks(records)
    report.problems += _missing_values(records)
    report.problems += _length_bias(records, report.lengths)
    report.problems += _too_long(records, template, tokenizer, max_length, report.lengths)
    report.problems += _leaks(records, test)
    report.problems.sort(key=lambda problem: (problem.source, problem.row))
    return report


def _join(messages: Iterable[Message]) -> str:
    return "\n".join(message.text for message in messages)


def _answer_texts(record: Record) -> list[str]:
    return [record.text] if isinstance(record, Text) else [_join(answer) for answer in answers_of(record)]


def _whole_text(record: Record) -> str:
    """Return the prompt and the first answer."""
    return f"{_join(prompt_of(record))}\n{_answer_texts(record)[0]}"


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _problem(record: Record, kind: str, problem: str) -> Problem:
    return Problem(record.row, problem, kind, source=record.source)


def _name(record: Record, beside: Record) -> str:
    """Return the row of a record, with its file if that is not the file of the record beside it."""
    file = "" if record.source == beside.source else f" of {record.source or 'another set'}"
    return f"row {record.row}{file}"


def _digest(record: Record) -> bytes:
    plain = json.dumps(record.to_dict(), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(" ".join(plain.split()).encode()).digest()[:16]


def _exact_duplicates(records: Sequence[Record], first_ones: list[int]) -> Iterator[Problem]:
    """Report records that equal an earlier one, and append the indexes of the others to `first_ones`."""
    seen: dict[bytes, int] = {}
    for index, record in enumerate(records):
        first = seen.setdefault(_digest(record), index)
        if first == index:
            first_ones.append(index)
        else:
            yield _problem(record, "duplicate", f"the same as {_name(records[first], record)}")


def _near_duplicates(records: Sequence[Record], indexes: Sequence[int]) -> Iterator[Problem]:
    """Report similar records of different groups."""
    found = find_near_duplicates(
        indexes,
        lambda index: _whole_text(records[index]),
        lambda one, other: _belong_together(records[one], records[other]),
    )
    for index, other, similarity in found:
        name = _name(records[other], records[index])
        yield _problem(records[index], "near duplicate", f"nearly the same as {name} (similarity {similarity:.2f})")


def _belong_together(one: Record, other: Record) -> bool:
    """Return whether records may be similar: they share a group, a row or, as ranked answers do, a prompt."""
    if one.group and one.group == other.group:
        return True
    if one.source == other.source and one.row == other.row:
        return True
    return not isinstance(one, Text | Conversation) and prompt_of(one) == prompt_of(other)


def _contradictions(records: Sequence[Record]) -> Iterator[Problem]:
    preferred: dict[tuple[str, str, str], Record] = {}
    labeled: dict[tuple[str, str], Label] = {}
    for record in records:
        prompt = _join(prompt_of(record)).strip()
        if isinstance(record, Preference):
            good, bad = _join(record.chosen).strip(), _join(record.rejected).strip()
            if (prompt, bad, good) in preferred:
                other = preferred[prompt, bad, good]
                yield _problem(record, "contradiction", f"prefers the answer that {_name(other, record)} rejects")
            preferred.setdefault((prompt, good, bad), record)
        elif isinstance(record, Label):
            first = labeled.setdefault((prompt, _join(record.completion).strip()), record)
            if first.label != record.label:
                yield _problem(record, "contradiction", f"labels the answer differently from {_name(first, record)}")


def _one_label(records: Sequence[Record]) -> Iterator[Problem]:
    labels = {record.label for record in records if isinstance(record, Label)}
    if len(labels) == 1 and len(records) > 1:
        word = "wanted" if labels == {True} else "unwanted"
        source = next(record.source for record in records if isinstance(record, Label))
        problem = (
            f"every answer is marked as {word}: a model learns from the difference between wanted and unwanted ones"
        )
        yield Problem(0, problem, "one label", source=source)


def _repeated_prompts(records: Sequence[Record]) -> Iterator[Problem]:
    for record in records:
        if isinstance(record, Preference):
            question = record.prompt[-1].text.strip()
            if all(answer[0].content.lstrip().startswith(question) for answer in (record.chosen, record.rejected)):
                yield _problem(
                    record, "prompt repeated", "both answers begin with the prompt, which is trained as a part of them"
                )


def _missing_values(records: Sequence[Record]) -> Iterator[Problem]:
    """Yield the rows in which a word of another program stands for no value, as pandas writes nan for an empty cell."""
    for record in records:
        if isinstance(record, Text):
            continue
        words = [m.context for m in prompt_of(record) if _is_missing_word(m.context)]
        words += [text for text in _answer_texts(record) if text.strip().lower() in ("nan", "null", "undefined")]
        if words:
            yield _problem(
                record, "missing value", f"the word {words[0].strip()} may stand for a missing value, and is trained"
            )


def _is_missing_word(text: str) -> bool:
    return len(text) < 12 and text.strip().lower() in _MISSING_WORDS


def _template_marks(records: Sequence[Record]) -> Iterator[Problem]:
    for record in records:
        texts = (
            [record.text]
            if isinstance(record, Text)
            else [m.content for part in (prompt_of(record), *answers_of(record)) for m in part]
        )
        marks = list(dict.fromkeys(mark for text in texts for mark in leftover_marks(text)))
        if marks:
            shown = ", ".join(marks[:3])
            yield _problem(
                record, "template marks", f"contains the marks of a template ({shown}), which are trained as letters"
            )


def _length_bias(records: Sequence[Record], lengths: dict[str, float]) -> Iterator[Problem]:
    pairs = [(len(_join(r.chosen)), len(_join(r.rejected))) for r in records if isinstance(r, Preference)]
    if not pairs:
        return
    longer = sum(a > b for a, b in pairs) / len(pairs)
    lengths["chosen_characters"] = round(mean(a for a, _ in pairs), 1)
    lengths["rejected_characters"] = round(mean(b for _, b in pairs), 1)
    lengths["chosen_longer"] = round(longer, 4)
    shorter = sum(a < b for a, b in pairs) / len(pairs)
    if len(pairs) >= 20 and max(longer, shorter) > MAX_LENGTH_BIAS:
        word, share = ("longer", longer) if longer > shorter else ("shorter", shorter)
        source = next(r.source for r in records if isinstance(r, Preference))
        yield Problem(
            0,
            f"length bias: the chosen answer is the {word} one in {share:.0%} of {len(pairs)} pairs "
            f"({lengths['chosen_characters']:.0f} to {lengths['rejected_characters']:.0f} characters)",
            "length bias",
            source=source,
        )


def _token_counts(record: Record, template: Template | None, tokenizer: Any) -> list[int]:
    """Count the tokens of each sequence to train on: the prompt with each answer, or the text."""
    prompt = prompt_of(record)
    if template is None or tokenizer is None:
        characters = len(_join(prompt))
        return [(characters + len(text)) // CHARACTERS_PER_TOKEN for text in _answer_texts(record)]
    if isinstance(record, Text):
        return [len(template.encode_text(tokenizer, record.text).input_ids)]
    return [len(template.encode(tokenizer, prompt + answer).input_ids) for answer in answers_of(record)]


def _too_long(
    records: Sequence[Record], template: Template | None, tokenizer: Any, max_length: int, lengths: dict[str, float]
) -> Iterator[Problem]:
    about = "" if template and tokenizer else "about "
    longest = [max(_token_counts(record, template, tokenizer)) for record in records]
    if longest:
        lengths["tokens_mean"], lengths["tokens_max"] = round(mean(longest), 1), max(longest)
    for record, tokens in zip(records, longest, strict=True):
        if tokens > max_length:
            problem = f"{about}{tokens} tokens, more than {max_length}: the answer would be truncated"
            yield _problem(record, "too long", problem)


def _grams(record: Record) -> Iterator[tuple[str, ...]]:
    words = _words(_whole_text(record))
    for i in range(len(words) - NGRAM + 1):
        yield tuple(words[i : i + NGRAM])


def _leaks(records: Sequence[Record], test: Sequence[Record]) -> Iterator[Problem]:
    test_grams: dict[tuple[str, ...], Record] = {}
    short_tests: dict[tuple[str, ...], Record] = {}
    for record in test:
        for gram in _grams(record):
            test_grams.setdefault(gram, record)
        words = tuple(_words(_whole_text(record)))
        if len(words) < NGRAM:
            short_tests.setdefault(words, record)
    for record in records:
        gram = next((g for g in _grams(record) if g in test_grams), ())
        whole = tuple(_words(_whole_text(record)))
        if gram:
            name = _name(test_grams[gram], record)
            yield _problem(record, "leakage", f"shares {NGRAM} words with test {name}: {' '.join(gram)!r}")
        elif whole and whole in short_tests:
            yield _problem(record, "leakage", f"the same as test {_name(short_tests[whole], record)}")
