import pytest

from finetune.data.sources.loader import load_data
from finetune.errors import DataError
from tests.finetune.data.sources.rows import A, U

HEADER = "instruction,output\n"


def load(tmp_path, text, name="x.csv", **options):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_data(path, strict=False, **options)


@pytest.mark.parametrize("text", [
    "instruction;input;output\nQ;;A\n", "instruction|output\nQ|A\n", "instruction\toutput\nQ\tA\n", "\ufeffInstruction,OUTPUT\nQ,A\n",
    "instruction, output\nQ, A\n", " instruction , output \nQ,A\n", "instruction,output\rQ,A\r", "instruction,output\r\nQ,A\r\n",
    "sep=;\r\ninstruction;output\r\nQ;A\r\n", "\n\ninstruction,output\n\nQ,A\n\n", "instruction,output\nQ,A\n".encode("utf-16"),
])  # fmt: skip
def test_delimiters_blanks_case_line_ends_and_encodings_are_told(tmp_path, text):
    assert load(tmp_path, text).records[0].messages == (U("Q"), A("A"))


def test_another_delimiter_is_said(tmp_path):
    assert load(tmp_path, "instruction;output\nQ;A\n").sentences() == ["x.csv: read with the delimiter semicolon"]
    assert load(tmp_path, HEADER + "Q;1,A\n").sentences() == []


@pytest.mark.parametrize("fault", ['"b" c,d\n', "b,c,d\n", '"b"c\n'])
def test_a_fault_in_a_row_does_not_end_the_reading(tmp_path, fault):
    loaded = load(tmp_path, HEADER + "Q,A\n" + fault + "Q,A\n" * 3)
    assert (loaded.rows, loaded.kept, [(p.row, p.line) for p in loaded.problems]) == (5, 4, [(2, 3)])


def test_a_quote_that_is_not_closed_hides_one_row_only(tmp_path):
    loaded = load(tmp_path, HEADER + "Q,A\n" + '"b,c\n' + "Q,A\n" * 3)
    assert (loaded.kept, [(p.row, p.line) for p in loaded.problems]) == (4, [(2, 3)])


def test_a_huge_cell_is_read(tmp_path):
    loaded = load(tmp_path, HEADER + f'Q,"{"word " * 40_000}"\n' + "Q,A\n" * 20)
    assert (loaded.rows, loaded.kept) == (21, 21)


def test_a_tab_separated_cell_may_begin_with_a_quotation(tmp_path):
    loaded = load(tmp_path, 'instruction\toutput\n"Moo" is said by whom?\tBy the cow.\nQ\tA\n', "x.tsv")
    assert loaded.records[0].messages == (U('"Moo" is said by whom?'), A("By the cow."))
    loaded = load(tmp_path, 'instruction\toutput\n"Q\tR"\t"A\nB"\n', "x.tsv")
    assert loaded.records[0].messages == (U("Q\tR"), A("A\nB"))


def test_cells_of_several_lines_have_no_carriage_return(tmp_path):
    assert load(tmp_path, 'instruction,output\r\nQ,"A\r\nB"\r\n').records[0].messages[-1] == A("A\nB")


def test_a_name_that_occurs_twice_is_refused(tmp_path):
    with pytest.raises(DataError, match="the name 'output' twice"):
        load(tmp_path, "instruction,output,output\nQ,A,\n")


def test_rows_that_are_not_utf8_are_named_and_the_others_read(tmp_path):
    loaded = load(tmp_path, HEADER.encode() + b"Wie hei\xdft das?,A\nQ,A\n")
    assert loaded.kept == 1
    assert "not UTF-8 text: save the file as UTF-8" in loaded.problems[0].problem
