"""Marks of chat formats in text that is no chat: broken in prompts, where a server would obey them."""

from __future__ import annotations

import re
import unicodedata

# The word joiner: a reader sees no difference, and no control token contains one. Text of PDFs never does (ingest).
JOINER = "\u2060"

# Servers read the text of control tokens inside a message as these tokens, and llama.cpp also that of ordinary entries
# of the vocabulary, as `</s>` in Qwen2.5's. Which tokens exist depends on the model, so the forms are broken, not a list.
_MARK = re.compile(
    r"<(?=[|｜])"  # <|im_end|>, <|endoftext|>, <｜end▁of▁sentence｜>
    r"|<(?=/?[a-z][\w-]{0,40}>)"  # <s>, </s>, <eos>, <start_of_turn>, <<SYS>>, <tool_call>, <fim-prefix>
    r"|<(?=/?(?:passages|think)\b)"  # models read our own marks in other spellings too: </passages >
    r"|\[(?=\||/?[A-Z][A-Z_]+\]|/?inst\]|gMASK\])",  # [INST], [/INST], [TOOL_CALLS], [|user|]
    re.I,
)


def disarm(text: str) -> str:
    """Return the text so that it cannot close the block of passages, forge a source label or begin another role's turn.

    It reads the same: a mark gets an invisible character after its first. The result is in NFC, which some tokenizers
    convert to and others, such as llama.cpp's, do not.
    """
    text = _MARK.sub(lambda match: match.group() + JOINER, unicodedata.normalize("NFC", text))
    return text.replace("[Source document:", "(Source document:")
