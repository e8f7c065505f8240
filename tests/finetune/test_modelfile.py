"""What Ollama is told beside the weights."""

from finetune.modelfile import Modelfile, modelfile_for
from finetune.template import named


def test_everything_comes_from_the_template_of_training() -> None:
    template = named("chatml")
    found = modelfile_for(template, context_length=32768)
    assert found.template == template.to_go()
    assert found.parameters() == {
        "num_ctx": 4096,
        "num_predict": 1024,
        "temperature": 0.0,
        "repeat_penalty": 1.0,
        "stop": ["<|im_end|>", "<|endoftext|>"],
    }


def test_the_context_never_goes_beyond_the_model() -> None:
    assert modelfile_for(named("phi-2"), context_length=2048).num_ctx == 2048


def test_text_for_people() -> None:
    found = Modelfile("{{ .Prompt }}", ("</s>", "\nInstruct:", 'say "no"'), num_ctx=512, system="Be brief.")
    assert found.to_text("./m.gguf") == (
        'FROM ./m.gguf\nTEMPLATE """{{ .Prompt }}"""\nPARAMETER num_ctx 512\nPARAMETER num_predict 1024\n'
        'PARAMETER temperature 0.0\nPARAMETER repeat_penalty 1.0\nPARAMETER stop "</s>"\n'
        'PARAMETER stop """\nInstruct:"""\nPARAMETER stop "say \\"no\\""\nSYSTEM """Be brief."""\n'
    )
