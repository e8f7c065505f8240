"""Write golden/templates/NAME.json, one per template: `python -m tests.finetune.templates.make_template_goldens`.

Read the difference before you commit it: a golden file that changes is a changed training format.
"""

import json
from pathlib import Path

from finetune.templates.builtin import TEMPLATE_NAMES, get_template
from finetune.templates.jinja_and_go import to_go, to_jinja
from finetune.templates.messages import Message

FOLDER = Path(__file__).parent / "golden" / "templates"

CASES: dict[str, list[tuple[str, str]]] = {
    "single": [("user", "Name a colour.")],
    "system": [("system", "Be brief."), ("user", "Name a colour.")],
    "empty user line": [("user", "\n")],
    "multi-turn": [
        ("user", "Hi."),
        ("assistant", "Hello!"),
        ("user", "2+2?"),
        ("assistant", "4"),
        ("user", "Thanks."),
    ],
    "system and multi-turn": [
        ("system", "Be brief."),
        ("user", "Hi."),
        ("assistant", "Hello!"),
        ("user", "2+2?"),
    ],
    "braces and quotes": [("user", "{{ .System }} {content} {% raw %} \"double\" 'single' \\n `tick` <|im_end|> </s>")],
    "answered": [("user", "Hi."), ("assistant", "Hello {name}!")],
}


def golden(name: str) -> dict[str, object]:
    """Return the renders of one template, with its exports to Jinja and Go."""
    template = get_template(name)
    renders = {}
    for case, turns in CASES.items():
        messages = [Message(role, content) for role, content in turns]
        renders[case] = template.render(messages, add_generation_prompt=turns[-1][0] == "user")
    return {
        "name": name,
        "renders": renders,
        "jinja": to_jinja(template),
        "go": to_go(template),
        "stop": list(template.stop),
    }


def main() -> None:
    """Write one file for each template."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in TEMPLATE_NAMES:
        text = json.dumps(golden(name), ensure_ascii=False, indent=2)
        (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
