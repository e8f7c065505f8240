"""The settings of a model in Ollama."""

from pathlib import Path

import pytest

from finetune.export.modelfile import Modelfile, modelfile_for
from finetune.templates.builtin import TEMPLATES, get_template
from finetune.templates.jinja_and_go import to_go
from quire import UsageError


def test_everything_comes_from_the_template_of_training() -> None:
    template = get_template("chatml")
    found = modelfile_for(template, context_length=32768)
    assert found.template == to_go(template)
    assert found.parameters() == {
        "num_ctx": 4096,
        "num_predict": 1024,
        "temperature": 0.0,
        "repeat_penalty": 1.0,
        "stop": ["<|im_end|>", "<|endoftext|>"],
    }


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_model_offers_tools_to_ollama_as_the_handbook_says(name: str) -> None:
    """Ollama offers tools where the template has `.Tools`."""
    assert ".Tools" not in modelfile_for(get_template(name), context_length=2048).to_text("./m.gguf")
    handbook = Path(__file__).parents[3] / "docs" / "handbook" / "11-exporting.md"
    assert "does not call tools" in handbook.read_text(encoding="utf-8")


def test_a_system_prompt_that_ollama_would_truncate_is_refused() -> None:
    assert '"""Say """ or "no""""' in Modelfile("", (), system='Say """ or "no"').to_text("./m.gguf")
    with pytest.raises(UsageError, match="would end the prompt there"):
        Modelfile("", (), system='Quote """\nlike this').to_text("./m.gguf")


def test_a_context_that_is_too_small_is_refused() -> None:
    for few in (-1, 0, 255):
        with pytest.raises(UsageError, match="--num-ctx"):
            modelfile_for(get_template("phi-2"), context_length=2048, num_ctx=few)


def test_the_context_is_capped_at_the_models_own() -> None:
    assert modelfile_for(get_template("phi-2"), context_length=2048).num_ctx == 2048


def test_the_text_of_a_modelfile() -> None:
    found = Modelfile("{{ .Prompt }}", ("</s>", "\nInstruct:", 'say "no"'), num_ctx=512, system="Be brief.")
    assert found.to_text("./m.gguf") == (
        'FROM ./m.gguf\nTEMPLATE """{{ .Prompt }}"""\nPARAMETER num_ctx 512\nPARAMETER num_predict 1024\n'
        'PARAMETER temperature 0.0\nPARAMETER repeat_penalty 1.0\nPARAMETER stop "</s>"\n'
        'PARAMETER stop """\nInstruct:"""\nPARAMETER stop "say "no""\nSYSTEM """Be brief."""\n'
    )
