"""Conversations of one question and one answer, for the tests of this folder."""

from finetune.data.records import Conversation
from finetune.templates.messages import Message


def talks(source, count, groups=None):
    return [
        Conversation((Message("user", f"{source} {n}"), Message("assistant", "a")), source, n,
                     f"{source}{n % groups}" if groups else "")
        for n in range(count)
    ]  # fmt: skip
