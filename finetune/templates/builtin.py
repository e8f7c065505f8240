"""The built-in templates, one for each family of models.

- `chatml` is the format of Qwen2.5-Instruct with its default system message, so that the untuned model and other
  tools see the same text. The answer and `<|im_end|>` are trained, the newline after it is not.
- `chatml-base` is for Qwen2.5 base models: the same format, but every turn ends with `<|endoftext|>`. The embedding
  of `<|im_end|>` is untrained there, and an adapter that leaves the embeddings alone cannot learn to stop on it.
- `phi-2` ends an answer with `<|endoftext|>` and an untrained newline. The space after `Output:` is part of the
  answer: `" word"` is one token, and a prompt that ends in a space would be text the model never saw.
- `alpaca`, `guanaco`, `zephyr` and `llama-2` are written as their authors published them.
- `llama-3` is the format of Llama-3-Instruct; the dates that Meta's template adds since 3.1 are left out.
- `mistral` is the format of Mistral-7B-Instruct v0.1 and v0.2, `mistral-v3` that of v0.3, where `[INST]` is a token. Both
  put a system message before the first question, since Mistral has no place of its own for one.
"""

import difflib

from finetune.errors import TemplateError
from finetune.templates.template import Template

QWEN_SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
_ALPACA_TASK = "Below is an instruction that describes a task"
_ALPACA_CLOSE = "Write a response that appropriately completes the request."

TEMPLATES = {
    template.name: template
    for template in (
        Template(
            name="chatml",
            system="<|im_start|>system\n{content}<|im_end|>\n",
            user="<|im_start|>user\n{content}<|im_end|>\n",
            generation_prompt="<|im_start|>assistant\n",
            end_token="<|im_end|>",  # noqa: S106 - a token of text, not a secret
            after_answer="\n",
            default_system=QWEN_SYSTEM,
            special_tokens=("<|im_start|>", "<|im_end|>"),
            stop=("<|im_end|>", "<|endoftext|>"),
        ),
        Template(
            name="chatml-base",
            system="<|im_start|>system\n{content}<|endoftext|>\n",
            user="<|im_start|>user\n{content}<|endoftext|>\n",
            generation_prompt="<|im_start|>assistant\n",
            end_token="<|endoftext|>",  # noqa: S106
            after_answer="\n",
            default_system=None,
            special_tokens=("<|im_start|>", "<|endoftext|>"),
            stop=("<|endoftext|>", "<|im_start|>"),
        ),
        Template(
            name="phi-2",
            system="{content}\n",
            user="Instruct: {content}\n",
            generation_prompt="Output:",
            answer_lead=" ",
            end_token="<|endoftext|>",  # noqa: S106
            after_answer="\n",
            special_tokens=("<|endoftext|>",),
            stop=("<|endoftext|>", "\nInstruct:"),
        ),
        Template(
            name="alpaca",
            system="{content}\n\n",
            user="### Instruction:\n{content}\n\n",
            user_with_context="### Instruction:\n{content}\n\n### Input:\n{context}\n\n",
            generation_prompt="### Response:",
            end_token="</s>",  # noqa: S106
            after_answer="\n\n",
            default_system=f"{_ALPACA_TASK}. {_ALPACA_CLOSE}",
            default_system_with_context=f"{_ALPACA_TASK}, paired with an input that provides further context. {_ALPACA_CLOSE}",
            special_tokens=("</s>",),
            stop=("</s>", "\n### Instruction:"),
        ),
        Template(
            name="llama-2",
            start="<s>",
            system="<<SYS>>\n{content}\n<</SYS>>\n\n",
            system_in_user=True,
            user="[INST] {content} [/INST]",
            generation_prompt="",
            answer_lead=" ",
            answer_trail=" ",
            end_token="</s>",  # noqa: S106
            special_tokens=("<s>", "</s>"),
            stop=("</s>", "[INST]"),
        ),
        Template(
            name="llama-3",
            start="<|begin_of_text|>",
            system="<|start_header_id|>system<|end_header_id|>\n\n{content}<|eot_id|>",
            user="<|start_header_id|>user<|end_header_id|>\n\n{content}<|eot_id|>",
            generation_prompt="<|start_header_id|>assistant<|end_header_id|>\n\n",
            end_token="<|eot_id|>",  # noqa: S106
            special_tokens=("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
            stop=("<|eot_id|>", "<|end_of_text|>"),
        ),
        Template(
            name="mistral",
            start="<s>",
            start_once=True,
            system="{content}\n\n",
            system_in_user=True,
            user="[INST] {content} [/INST]",
            generation_prompt="",
            answer_lead=" ",
            end_token="</s>",  # noqa: S106
            special_tokens=("<s>", "</s>"),
            stop=("</s>", "[INST]"),
        ),
        Template(
            name="mistral-v3",
            start="<s>",
            start_once=True,
            system="{content}\n\n",
            system_in_user=True,
            user="[INST] {content}[/INST]",
            generation_prompt="",
            answer_lead=" ",
            end_token="</s>",  # noqa: S106
            special_tokens=("<s>", "[INST]", "[/INST]", "</s>"),
            stop=("</s>", "[INST]"),
        ),
        Template(
            name="zephyr",
            system="<|system|>\n{content}</s>\n",
            user="<|user|>\n{content}</s>\n",
            generation_prompt="<|assistant|>\n",
            end_token="</s>",  # noqa: S106
            after_answer="\n",
            special_tokens=("</s>",),
            stop=("</s>", "<|user|>"),
        ),
        Template(
            name="guanaco",
            system="{content}\n",
            user="### Human: {content}",
            generation_prompt="### Assistant:",
            answer_lead=" ",
            end_token="</s>",  # noqa: S106
            special_tokens=("</s>",),
            stop=("</s>", "### Human:"),
        ),
    )
}
TEMPLATE_NAMES = tuple(TEMPLATES)


def get_template(name: str) -> Template:
    """Return a built-in template by name."""
    if name not in TEMPLATES:
        near = difflib.get_close_matches(name, TEMPLATE_NAMES, n=1)
        guess = f"did you mean {near[0]!r}? " if near else ""
        raise TemplateError(f"there is no template {name!r}", f"{guess}choose one of {', '.join(TEMPLATE_NAMES)}")
    return TEMPLATES[name]
