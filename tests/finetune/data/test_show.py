import json

from finetune.data.records import Preference
from finetune.data.show import for_terminal, views_of
from finetune.data.sources.loader import load_data
from finetune.templates.builtin import get_template
from finetune.templates.messages import Message


def test_without_color_brackets_mark_what_is_trained():
    prompt, answers = (Message("user", "Q"),), [(Message("assistant", text),) for text in ("<b>good</b>", "bad")]
    record = Preference(prompt, *answers)
    text = for_terminal(views_of(record, get_template("chatml")), color=False)
    assert "⟦<b>good</b>⟧⟦<|im_end|>⟧\n" in text
    assert "\x1b" not in text


def test_an_answer_inside_a_preferences_prompt_is_not_marked(tmp_path):
    path = tmp_path / "p.jsonl"
    start = "\n\nHuman: Q\n\nAssistant: early\n\nHuman: R\n\nAssistant: "
    path.write_text(json.dumps({"chosen": start + "good", "rejected": start + "bad"}) + "\n")
    chosen, rejected = views_of(load_data(path).records[0], get_template("chatml"))
    assert [s.text for s in chosen.segments if s.trained] == ["good", "<|im_end|>"]
    assert [s.text for s in rejected.segments if s.trained] == ["bad", "<|im_end|>"]
