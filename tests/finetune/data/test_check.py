from finetune.data.check import NGRAM, check
from finetune.data.records import Conversation, Label, Preference
from finetune.data.sources.loaded import LoadedData
from finetune.data.sources.problem import Problem
from finetune.templates.messages import Message

U, A = (lambda t: Message("user", t)), (lambda t: Message("assistant", t))
LONG = "the quick brown fox jumps over the lazy dog while seven green ships sail past a quiet harbour at dawn"


def talk(row, question, answer, source="train.jsonl", group=""):
    return Conversation((U(question), A(answer)), source, row, group)


def pair(row, good, bad, question="Why is that so?"):
    return Preference((U(question),), (A(good),), (A(bad),), "pairs.jsonl", row)


def findings(records, **options):
    report = check(LoadedData("x", len(records), len(records), [], list(records)), **options)
    return [(p.row, p.kind, p.problem) for p in report.problems]


def test_clean_rows_have_no_problem():
    assert findings([talk(1, "What is red?", "A colour."), talk(2, "And two?", "A number.")]) == []


def test_an_exact_duplicate_names_the_first_row():
    rows = [talk(1, "a b", "c"), talk(2, "x", "y"), talk(3, "a b", "c")]
    assert findings(rows) == [(3, "duplicate", "the same as row 1")]


def test_a_near_duplicate_names_the_row_and_its_similarity():
    text = " ".join(f"word{n}" for n in range(100))
    rows = [talk(1, "Say it.", text), talk(2, "Say it.", text + " more"), talk(3, "Say it.", LONG)]
    ((row, kind, problem),) = findings(rows)
    assert (row, kind) == (2, "near duplicate")
    assert problem == "nearly the same as row 1 (similarity 0.99)"


def test_rows_of_one_tree_may_resemble_each_other():
    text = " ".join(f"word{n}" for n in range(100))
    assert findings([talk(1, "Say it.", text, group="t"), talk(2, "Say it.", text + " more", group="t")]) == []


def test_contradictory_pairs_and_labels_are_named():
    assert findings([pair(1, "yes", "no"), pair(2, "no", "yes")]) == [
        (2, "contradiction", "prefers the answer that row 1 rejects")
    ]
    labels = [Label((U("Q"),), (A("x"),), wanted, "k.jsonl", n) for n, wanted in ((1, True), (2, False))]
    assert findings(labels) == [(2, "contradiction", "labels the answer differently from row 1")]


def test_length_bias_is_reported_with_its_figures():
    biased = [pair(n, f"a much longer answer {n}", f"short {n}", f"question {n}") for n in range(1, 31)]
    ((row, kind, problem),) = findings(biased)
    assert (row, kind) == (0, "length bias")
    assert "the longer one in 100% of 30 pairs" in problem
    balanced = [pair(n, "x" * (5 + 9 * (n % 2)) + str(n), "y" * 10 + str(n), f"question {n}") for n in range(1, 31)]
    assert findings(balanced) == []


def test_rows_that_would_be_truncated_are_named():
    rows = [talk(1, "short", "answer"), talk(2, "long", "word " * 100)]
    ((row, kind, problem),) = findings(rows, max_length=50)
    assert (row, kind) == (2, "too long")
    assert problem == "about 126 tokens, more than 50: the answer would be truncated"


def test_leakage_is_found_by_thirteen_words_and_not_by_twelve():
    words = LONG.split()
    test = [talk(7, "anything", LONG, source="test.jsonl")]
    rows = [
        talk(1, "Repeat:", "And " + " ".join(words[:NGRAM]).upper()),
        talk(2, "Repeat:", " ".join(words[: NGRAM - 1])),
    ]
    ((row, kind, problem),) = findings(rows, test=test)
    assert (row, kind) == (1, "leakage")
    assert problem.startswith(f"shares 13 words with test row 7 of test.jsonl: '{words[0]} {words[1]}")


def test_a_short_test_row_leaks_when_it_is_the_same():
    test = [talk(1, "2+2?", "4", source="test.jsonl")]
    assert [f[:2] for f in findings([talk(3, "2+2?", "4"), talk(4, "2+3?", "5")], test=test)] == [(3, "leakage")]


def test_the_json_report_has_the_contracts_keys():
    loaded = LoadedData("alpaca", 2, 1, [Problem(2, "empty answer", "empty", True, "x", 2)], [talk(1, "a", "b")])
    plain = check(loaded).to_dict()
    assert {k: plain[k] for k in ("format", "rows", "kept", "counts")} == {
        "format": "alpaca", "rows": 2, "kept": 1, "counts": {"empty": 1}}  # fmt: skip
    assert plain["problems"] == [
        {"row": 2, "problem": "empty answer", "kind": "empty", "dropped": True, "file": "x", "line": 2}
    ]


def test_labels_that_are_all_alike_are_named():
    rows = [Label((U(f"Q{n}"),), (A("x"),), True, "k.jsonl", n) for n in (1, 2)]
    ((row, kind, problem),) = findings(rows)
    assert (row, kind) == (0, "one label")
    assert problem.startswith("every answer is marked as wanted")
    assert findings([*rows, Label((U("Q3"),), (A("y"),), False, "k.jsonl", 3)]) == []


def test_pairs_whose_answers_repeat_the_prompt_are_named():
    question = "What does the cow say?"
    assert [f[:2] for f in findings([pair(1, f"{question}\nmoo", f"{question}\nwoof", question)])] == [
        (1, "prompt repeated")
    ]
    assert findings([pair(1, f"{question} moo", "woof", question)]) == []


def test_words_that_stand_for_a_missing_value_are_named():
    rows = [
        Conversation((Message("user", "Add them.", "NaN"), A("3")), "t.jsonl", 1),
        talk(2, "What is 0 / 0?", "nan"),
        talk(3, "Which of these?", "None"),
        talk(4, "What is nan?", "Not a number."),
    ]
    assert [f[:2] for f in findings(rows)] == [(1, "missing value"), (2, "missing value")]


def test_template_marks_in_texts_are_named():
    rows = [
        talk(1, "Cow?", "Moo.</s>"),
        talk(2, "<|im_start|>user\nDog?<|im_end|>", "Woof."),
        talk(3, "Is <|im_end|> a token?", "Yes."),
    ]
    assert [f[:2] for f in findings(rows)] == [(1, "template marks"), (2, "template marks")]
