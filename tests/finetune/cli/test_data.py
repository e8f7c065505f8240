import json

import pytest

from finetune.cli import main
from finetune.data.show import as_html


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    lines = [
        {"prompt": "Say <b>hi</b>", "chosen": "<script>alert(1)</script>", "rejected": "no \x1b[31m"},
        {"prompt": "Q", "chosen": "same", "rejected": "same"},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_check_prints_one_json_object(rows, capsys):
    assert main(["data", "check", str(rows), "--json"]) == 0
    out = json.loads(capsys.readouterr().out)
    assert (out["format"], out["rows"], out["kept"]) == ("preference", 2, 1)
    assert [(p["row"], p["problem"]) for p in out["problems"]] == [(2, "chosen and rejected answers are equal")]


def test_check_counts_several_files_and_a_malformed_row(rows, tmp_path, capsys):
    other = tmp_path / "b.jsonl"
    other.write_text('{"text": "a"}\nbroken\n')
    assert main(["data", "check", str(rows), str(other), "--json"]) == 1
    out = json.loads(capsys.readouterr().out)
    assert (out["format"], out["rows"], out["kept"]) == ("preference + text", 4, 2)
    assert [(p["file"], p["line"]) for p in out["problems"] if p["kind"] == "malformed"] == [(str(other), 2)]


def test_rows_with_nan_are_named_in_strict_json(tmp_path, capsys):
    path = tmp_path / "rows.jsonl"
    path.write_text(
        '{"instruction": "a", "output": "b", "score": NaN}\n{"instruction": "c", "output": "d", "score": 1e999}\n'
    )
    out = str(tmp_path / "out.jsonl")
    for command, code in (["check"], 1), (["convert", "--out", out], 0):
        assert main(["data", command[0], str(path), *command[1:], "--json"]) == code
        found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
        assert found["problems"][0]["problem"] == "not JSON: NaN is not a JSON number"


def test_check_in_words_ends_with_the_counts(rows, capsys):
    assert main(["data", "check", str(rows)]) == 0
    out = capsys.readouterr().out
    assert "row 2: chosen and rejected answers are equal (dropped)" in out
    assert "format preference: 2 rows, 1 kept, 1 records" in out


def test_errors_go_to_stderr_with_a_hint(tmp_path, capsys):
    assert main(["data", "check", str(tmp_path / "none.jsonl")]) == 1
    caught = capsys.readouterr()
    assert caught.out == ""
    assert caught.err.startswith("error: there is no file")
    assert main(["data", "check"]) == 2
    assert "required: FILE" in capsys.readouterr().err


def test_show_takes_chatml_and_says_so(rows, capsys):
    assert main(["data", "show", str(rows), "--rows", "1"]) == 0
    caught = capsys.readouterr()
    assert "<|im_start|>user\nSay <b>hi</b>" in caught.out
    assert "using template chatml; choose another with --template" in caught.err


def test_show_says_why_a_row_was_dropped(rows, capsys):
    assert main(["data", "show", str(rows), "--row", "2"]) == 1
    assert "row 2 of" in (err := capsys.readouterr().err) and "answers are equal" in err


@pytest.mark.parametrize("flags", [["--rows", "0"], ["--rows", "-3"], ["--row", "0"]])
def test_counts_below_one_are_wrong_usage(rows, flags, capsys):
    assert main(["data", "show", str(rows), *flags]) == 2
    assert "not a whole number above 0" in capsys.readouterr().err


def test_a_malformed_row_is_reported_with_file_and_line(tmp_path, capsys):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a"}\n\n\n{"text" "b"}\n{"text": "half \\ud800 of a pair"}\n')
    assert main(["data", "check", str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{path}, line 4, row 2: not JSON: Expecting ':' delimiter at column 9 (dropped)"
    assert lines[1].startswith(f"{path}, line 5, row 3: contains half of a surrogate pair")


def test_check_reports_the_mixture_of_the_weights(tmp_path, capsys):
    files = []
    for name, count in (("a", 30), ("b", 10)):
        files.append(str(tmp_path / f"{name}.jsonl"))
        rows = [json.dumps({"prompt": f"{name}{i}", "completion": f"answer {i}"}) for i in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows))
    assert main(["data", "check", *files, "--weights", "1,1"]) == 0
    out = capsys.readouterr().out
    assert f"{files[0]}: 50.0% of the mixture (10 of its 30 rows; 50.0% requested)" in out
    assert main(["data", "check", *files, "--weights", "3,1", "--json"]) == 0
    shares = json.loads(capsys.readouterr().out)["mixture"]
    assert [(share["rows"], share["realised"]) for share in shares] == [(30, 0.75), (10, 0.25)]
    for wrong in ("1", "1,x", "1,-1", "1,nan"):
        assert main(["data", "check", *files, "--weights", wrong]) == 2
        assert "one number above 0 for each file" in capsys.readouterr().err


def test_an_unknown_flag_is_reported_with_the_most_similar(capsys):
    assert main(["data", "check", "rows.jsonl", "--max-lenght", "5"]) == 2
    err = capsys.readouterr().err
    assert err.splitlines()[0] == "error: quire finetune data check has no --max-lenght 5"
    assert "did you mean --max-length?" in err


def test_list_names_every_data_set_with_its_license(capsys):
    assert main(["data", "list", "--json"]) == 0
    sets = json.loads(capsys.readouterr().out)["sets"]
    assert {s["name"] for s in sets} == {
        "oasst1", "oasst2", "no_robots", "ultrachat_200k", "openhermes-2.5", "openorca", "dolphin", "hh-rlhf",
        "ultrafeedback", "ultrafeedback_binarized", "orca_dpo_pairs", "helpsteer", "truthy-dpo"}  # fmt: skip
    assert all(s["licence"] and s["rows"] and s["fields"] for s in sets)


def test_show_marks_what_is_trained_and_the_end_token(rows, capsys):
    assert main(["data", "show", str(rows), "--template", "phi-2", "--color", "always"]) == 0
    out = capsys.readouterr().out
    assert (
        "Output:\x1b[0m\x1b[32m \x1b[0m\x1b[32m<script>alert(1)</script>\x1b[0m\x1b[30;42m<|endoftext|>\x1b[0m" in out
    )
    assert "no \\x1b[31m" in out, "a row's own escape codes do not reach the terminal"


def test_show_prints_one_json_object_with_what_is_trained(rows, capsys):
    assert main(["data", "show", str(rows), "--template", "chatml", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    chosen = shown["views"][0]
    assert (shown["template"], chosen["title"]) == ("chatml", "row 1, chosen")
    assert [s["text"] for s in chosen["segments"] if s["trained"]] == ["<script>alert(1)</script>", "<|im_end|>"]


def test_html_escapes_every_text_of_the_data(rows, tmp_path, capsys):
    page = tmp_path / "rows.html"
    assert main(["data", "show", str(rows), "--template", "chatml", "--html", str(page)]) == 0
    text = page.read_text()
    assert "<script" not in text
    assert '<span class="content trained">&lt;script&gt;alert(1)&lt;/script&gt;</span>' in text
    assert '<span class="end trained">&lt;|im_end|&gt;</span>' in text
    assert as_html([], title="<i>").count("<i>") == 0


def test_a_models_own_end_token_is_shown_and_counted(rows, models, capsys):
    flags = ["--model", models["phi"], "--template", "alpaca"]
    assert main(["data", "show", str(rows), *flags, "--rows", "1", "--json"]) == 0
    caught = capsys.readouterr()
    assert "answers end with <|endoftext|>, the tokenizer's own end token (it has no </s>)" in caught.err
    chosen = json.loads(caught.out)["views"][0]
    assert [s["text"] for s in chosen["segments"] if s["trained"]] == ["<script>alert(1)</script>", "<|endoftext|>"]
    assert main(["data", "check", str(rows), *flags, "--max-length", "8"]) == 0
    assert "tokens, more than 8: the answer would be truncated" in (out := capsys.readouterr().out)
    assert "about" not in out  # tokens were counted, not estimated


def test_a_model_that_is_not_in_the_cache_gives_its_template_and_an_estimate(rows, tmp_path, monkeypatch, capsys):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    assert main(["data", "show", str(rows), "--model", "Qwen/Qwen2.5-1.5B", "--rows", "1"]) == 0
    caught = capsys.readouterr()
    assert "the tokenizer of Qwen/Qwen2.5-1.5B is not in the cache: tokens are estimated" in caught.err
    assert "<|endoftext|>" in caught.out
