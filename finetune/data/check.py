"""What is wrong with training data before a GPU hour is spent: duplicates, contradictions, lengths, leakage."""

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

from finetune.data.records import Conversation, Label, Preference, Record, Text, prompt_of
from finetune.data.sources.loaded import LoadedData
from finetune.data.sources.problem import Problem
from finetune.errors import MissingLibrary
from finetune.templates.messages import Message
from finetune.templates.template import Template
from quire import install_extra

NGRAM = 13  # words in a row that test and training may not share, as in the GPT-3 paper
SIMILAR = 0.85  # Jaccard similarity of 3-word shingles from which two rows are near duplicates
LENGTH_BIAS = 0.65  # share of pairs with the longer answer chosen, from which length is learnt as quality
CHARACTERS_PER_TOKEN = 4  # an estimate for English where no tokenizer is named


@dataclass(slots=True)
class Report:
    """The findings about one or more files; `lengths` and `counts` are the figures behind them."""

    format: str
    rows: int
    kept: int
    records: int
    problems: list[Problem] = field(default_factory=list)
    lengths: dict[str, float] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """Count the problems by kind."""
        return dict(sorted(Counter(problem.kind for problem in self.problems).items()))

    def to_dict(self) -> dict[str, Any]:
        """Give the report as one JSON object."""
        return {
            "format": self.format,
            "rows": self.rows,
            "kept": self.kept,
            "records": self.records,
            "counts": self.counts,
            "lengths": self.lengths,
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
    """Look for everything that spoils training in what was loaded.

    `test` are held-out records that training rows may not repeat. With a template and a tokenizer, lengths are
    counted in tokens; without, they are estimated from characters. `max_length` is in tokens.
    """
    records = loaded.records
    report = Report(loaded.format, loaded.rows, loaded.kept, len(records), list(loaded.problems))
    report.problems += _exact_duplicates(records)
    report.problems += _near_duplicates(records)
    report.problems += _contradictions(records)
    report.problems += _length_bias(records, report.lengths)
    report.problems += _too_long(records, template, tokenizer, max_length, report.lengths)
    report.problems += _leaks(records, test)
    report.problems.sort(key=lambda problem: (problem.source, problem.row))
    return report


def _answer_text(record: Record) -> str:
    match record:
        case Conversation():
            return record.messages[-1].content
        case Preference():
            return "\n".join(m.content for m in record.chosen)
        case Label():
            return "\n".join(m.content for m in record.completion)
        case Text():
            return record.text


def _join(messages: Iterable[Message]) -> str:
    return "\n".join(message.text for message in messages)


def _whole_text(record: Record) -> str:
    return f"{_join(prompt_of(record))}\n{_answer_text(record)}"


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _found(record: Record, kind: str, problem: str) -> Problem:
    return Problem(record.row, problem, kind, source=record.source)


def _name(record: Record, beside: Record) -> str:
    return (
        f"row {record.row}"
        if record.source == beside.source
        else f"row {record.row} of {record.source or 'another set'}"
    )


def _digest(record: Record) -> bytes:
    plain = json.dumps(record.to_dict(), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(" ".join(plain.split()).encode()).digest()


def _exact_duplicates(records: Sequence[Record]) -> Iterator[Problem]:
    seen: dict[bytes, Record] = {}
    for record in records:
        first = seen.setdefault(_digest(record), record)
        if first is not record:
            yield _found(record, "duplicate", f"the same as {_name(first, record)}")


def _shingles(text: str) -> set[str]:
    words = _words(text)
    return {" ".join(words[i : i + 3]) for i in range(max(1, len(words) - 2))}


def _near_duplicates(records: Sequence[Record]) -> Iterator[Problem]:
    """Find rows of other groups that say nearly the same; MinHash proposes, the true similarity decides."""
    try:
        from datasketch import MinHash, MinHashLSH
    except ImportError as exc:
        raise MissingLibrary(
            "near duplicates are found with the library `datasketch`", install_extra("finetune")
        ) from exc
    index = MinHashLSH(threshold=SIMILAR - 0.1, num_perm=64)
    sets: dict[int, set[str]] = {}
    digests: set[bytes] = set()
    for number, record in enumerate(records):
        digest = _digest(record)
        shingles = _shingles(_whole_text(record))
        if digest in digests or len(shingles) < 5:  # reported as exact, or too short to be told apart
            continue
        digests.add(digest)
        sketch = MinHash(num_perm=64, seed=1)
        sketch.update_batch([shingle.encode() for shingle in shingles])
        for other in sorted(index.query(sketch)):
            first = records[other]
            if first.group and first.group == record.group:
                continue
            if first.source == record.source and first.row == record.row:
                continue
            similarity = len(shingles & sets[other]) / len(shingles | sets[other])
            if similarity >= SIMILAR and not _same_prompt(first, record):
                yield _found(
                    record, "near duplicate", f"nearly the same as {_name(first, record)} (similarity {similarity:.2f})"
                )
                break
        sets[number] = shingles
        index.insert(number, sketch)


def _same_prompt(one: Record, other: Record) -> bool:
    """Several pairs or labels may share a prompt; that is how ranked data looks."""
    return not isinstance(one, Text | Conversation) and prompt_of(one) == prompt_of(other)


def _contradictions(records: Sequence[Record]) -> Iterator[Problem]:
    preferred: dict[tuple[str, str, str], Record] = {}
    labelled: dict[tuple[str, str], Label] = {}
    for record in records:
        prompt = _join(prompt_of(record)).strip()
        if isinstance(record, Preference):
            good, bad = _join(record.chosen).strip(), _join(record.rejected).strip()
            if (prompt, bad, good) in preferred:
                other = preferred[prompt, bad, good]
                yield _found(record, "contradiction", f"prefers the answer that {_name(other, record)} rejects")
            preferred.setdefault((prompt, good, bad), record)
        elif isinstance(record, Label):
            first = labelled.setdefault((prompt, _join(record.completion).strip()), record)
            if first.label != record.label:
                yield _found(record, "contradiction", f"labels an answer other than {_name(first, record)} does")


def _length_bias(records: Sequence[Record], lengths: dict[str, float]) -> Iterator[Problem]:
    pairs = [(len(_join(r.chosen)), len(_join(r.rejected))) for r in records if isinstance(r, Preference)]
    if not pairs:
        return
    longer = sum(a > b for a, b in pairs) / len(pairs)
    lengths["chosen_characters"] = round(mean(a for a, _ in pairs), 1)
    lengths["rejected_characters"] = round(mean(b for _, b in pairs), 1)
    lengths["chosen_longer"] = round(longer, 4)
    shorter = sum(a < b for a, b in pairs) / len(pairs)
    if len(pairs) >= 20 and max(longer, shorter) > LENGTH_BIAS:
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
    """Count the tokens of what is trained on: one sequence, or a prompt with each of two answers."""
    if template is None or tokenizer is None:
        prompt = len(_join(prompt_of(record)))
        answers = [_answer_text(record)]
        if isinstance(record, Preference):
            answers.append(_join(record.rejected))
        return [(prompt + len(answer)) // CHARACTERS_PER_TOKEN for answer in answers]
    match record:
        case Text():
            return [len(template.encode_text(tokenizer, record.text).input_ids)]
        case Conversation():
            return [len(template.encode(tokenizer, record.messages).input_ids)]
        case Preference():
            both = (record.chosen, record.rejected)
            return [len(template.encode(tokenizer, record.prompt + answer).input_ids) for answer in both]
        case Label():
            return [len(template.encode(tokenizer, record.prompt + record.completion).input_ids)]


def _too_long(
    records: Sequence[Record], template: Template | None, tokenizer: Any, max_length: int, lengths: dict[str, float]
) -> Iterator[Problem]:
    about = "" if template and tokenizer else "about "
    longest = [max(_token_counts(record, template, tokenizer)) for record in records]
    if longest:
        lengths["tokens_mean"], lengths["tokens_max"] = round(mean(longest), 1), max(longest)
    for record, tokens in zip(records, longest, strict=True):
        if tokens > max_length:
            yield _found(record, "too long", f"{about}{tokens} tokens: truncation at {max_length} cuts the answer")


def _grams(record: Record) -> Iterator[tuple[str, ...]]:
    words = _words(_whole_text(record))
    for i in range(len(words) - NGRAM + 1):
        yield tuple(words[i : i + NGRAM])


def _leaks(records: Sequence[Record], test: Sequence[Record]) -> Iterator[Problem]:
    held: dict[tuple[str, ...], Record] = {}
    for record in test:
        for gram in _grams(record):
            held.setdefault(gram, record)
    short = defaultdict(list)
    for record in test:
        words = _words(_whole_text(record))
        if len(words) < NGRAM:
            short[tuple(words)].append(record)
    for record in records:
        gram = next((g for g in _grams(record) if g in held), ())
        whole = tuple(_words(_whole_text(record)))
        if gram:
            found = held[gram]
            yield _found(
                record, "leakage", f"shares {NGRAM} words with test {_name(found, record)}: {' '.join(gram)!r}"
            )
        elif whole and whole in short:
            yield _found(record, "leakage", f"the same as test {_name(short[whole][0], record)}")
