"""A template in the languages of other tools: Jinja for transformers and GGUF files, Go for Ollama."""

from finetune.errors import TemplateError
from finetune.templates.template import CONTEXT_SLOT, SLOT, Template


def _quoted(text: str) -> str:
    """Write a Jinja string literal; Jinja reads Python's escapes."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\t", "\\t")
    return f"'{escaped}'"


def _out(*parts: str) -> str:
    """Write one Jinja output that joins the expressions, except empty strings."""
    shown = [part for part in parts if part not in ("", "''")]
    return "{{ " + " + ".join(shown) + " }}" if shown else ""


def to_jinja(template: Template) -> str:
    """Write a template as one line of Jinja, so that no whitespace setting changes its text."""
    return (
        _jinja_system(template)
        + "{% for message in turns %}{% if message['role'] == 'user' %}"
        + _jinja_user(template)
        + "{% elif message['role'] == 'assistant' %}"
        + _jinja_answer(template)
        + "{% endif %}{% endfor %}"
    )


def _jinja_system(template: Template) -> str:
    def default(value: str | None) -> str:
        return "{% set system = " + ("none" if value is None else _quoted(value)) + " %}"

    with_context = ""
    if template.default_system_with_context is not None:
        with_context = (
            "{% elif messages[0]['context'] %}"
            + default(template.default_system_with_context)
            + "{% set turns = messages %}"
        )
    return (
        "{% if messages[0]['role'] == 'system' %}"
        "{% set system = messages[0]['content'] %}{% set turns = messages[1:] %}"
        + with_context
        + "{% else %}"
        + default(template.default_system)
        + "{% set turns = messages %}{% endif %}"
    )


def _jinja_user(template: Template) -> str:
    before, _, after = template.system.partition(SLOT)
    block = (
        "{% if loop.first and system is not none %}" + _out(_quoted(before), "system", _quoted(after)) + "{% endif %}"
    )
    start = _out(_quoted(template.start))
    if start and not template.start_every_turn:
        start = "{% if loop.first %}" + start + "{% endif %}"
    opening, _, closing = template.user.partition(SLOT)
    content = "message['content']"
    joined = "{% if message['context'] %}" + _out(_quoted("\n\n"), "message['context']") + "{% endif %}"
    inside = block if template.system_in_user else ""
    plain = _out(_quoted(opening)) + inside + _out(content) + joined + _out(_quoted(closing))
    if template.user_with_context is not None:
        head, _, rest = template.user_with_context.partition(SLOT)
        middle, _, tail = rest.partition(CONTEXT_SLOT)
        special = _out(_quoted(head)) + inside + _out(content, _quoted(middle), "message['context']", _quoted(tail))
        without = _out(_quoted(opening)) + inside + _out(content, _quoted(closing))
        plain = "{% if message['context'] %}" + special + "{% else %}" + without + "{% endif %}"
    prompt = _out(_quoted(template.generation_prompt))
    if prompt:
        prompt = "{% if add_generation_prompt or not loop.last %}" + prompt + "{% endif %}"
    return start + ("" if template.system_in_user else block) + plain + prompt


def _jinja_answer(template: Template) -> str:
    closing = _quoted(template.answer_trail + template.end_token)
    answer = _out(_quoted(template.answer_lead), "message['content']", closing)
    return answer + _out(_quoted(template.after_answer))


def to_go(template: Template) -> str:
    """Write a template for Ollama's TEMPLATE (Go), which ranges over `.Messages`.

    It includes the default system message, so a Modelfile needs no SYSTEM line; a message's context is part of its
    content. Raises TemplateError for a template that contains `{{`.
    """
    texts = (template.system, template.user, template.generation_prompt, template.start, template.answer_lead,
           template.answer_trail, template.end_token, template.after_answer)  # fmt: skip
    if any("{{" in text for text in texts):
        raise TemplateError(
            f"template {template.name!r} contains '{{{{', which Go reads as a command", "change its text"
        )
    return (
        _go_default(template)
        + "{{ range $i, $m := .Messages }}"
        + '{{ if eq $m.Role "system" }}'
        + _go_system(template)
        + '{{ else if eq $m.Role "user" }}'
        + _go_user(template)
        + '{{ else if eq $m.Role "assistant" }}'
        + f"{template.answer_lead}{{{{ $m.Content }}}}{template.answer_trail}{template.end_token}{template.after_answer}"
        + "{{ end }}{{ end }}"
    )


def _go_default(template: Template) -> str:
    start = "" if template.start_every_turn else template.start
    text = _go_default_text(template)
    if not text or template.system_in_user:
        return start
    return start + '{{ if .Messages }}{{ if ne (index .Messages 0).Role "system" }}' + text + "{{ end }}{{ end }}"


def _go_default_text(template: Template) -> str:
    if template.default_system is None:
        return ""
    return template.system.replace(SLOT, template.default_system.replace("{{", '{{ "{{" }}'))


def _go_system(template: Template) -> str:
    block = template.system.replace(SLOT, "{{ $m.Content }}")
    if template.system_in_user:
        return _go_turn_start(template) + template.user.partition(SLOT)[0] + block
    return block


def _go_user(template: Template) -> str:
    opening, _, closing = template.user.partition(SLOT)
    if template.system_in_user:
        # the system turn already wrote the opening of the next user turn
        opening = (
            '{{ if or (ne $i 1) (ne (index $.Messages 0).Role "system") }}'
            + _go_turn_start(template)
            + opening
            + "{{ end }}"
        )
        if text := _go_default_text(template):
            opening += "{{ if eq $i 0 }}" + text + "{{ end }}"
    return f"{opening}{{{{ $m.Content }}}}{closing}{template.generation_prompt}"


def _go_turn_start(template: Template) -> str:
    return template.start if template.start_every_turn else ""
