"""The formats of training data that are read row by row, in the order in which they are detected."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from finetune.data.records import Record
from finetune.data.sources.chat_formats import (
    alpaca,
    chat,
    guanaco,
    is_dolphin,
    is_guanaco,
    plain_text,
    prompt_completion,
    question_and_answer,
    seed_tasks,
)  # fmt: skip
from finetune.data.sources.fields import Fields, Values, has_fields, has_list
from finetune.data.sources.label_formats import labeled_alpaca, labeled_completion, labeled_messages
from finetune.data.sources.preference_formats import (
    better_response,
    hh_rlhf,
    is_hh_rlhf,
    is_preference,
    preference,
    preference_strength,
    preference_with,
    shp,
    two_answers,
)  # fmt: skip
from finetune.data.sources.ranked_formats import is_ranked, is_ultrafeedback, ranked, ultrafeedback


@dataclass(frozen=True, slots=True)
class Format:
    """A format of rows: `matches` detects it by the fields of one row, `build` makes the records of one row."""

    name: str
    fields: str
    matches: Callable[[Values], bool]
    build: Callable[[Fields], Iterator[Record]]


# Most specific first: a row has the first format that matches.
ROW_FORMATS: tuple[Format, ...] = (
    Format("hh-rlhf", "chosen, rejected (transcripts)", is_hh_rlhf, hh_rlhf),
    Format("shp", "history, human_ref_A, human_ref_B, labels", has_fields("human_ref_A", "human_ref_B", "labels"), shp),
    Format("ultrafeedback", "instruction, completions[response, annotations]", is_ultrafeedback, ultrafeedback),
    Format(
        "ultrafeedback-binarized", "prompt, chosen, rejected, score_chosen, score_rejected",
        preference_with("score_chosen", "score_rejected"), preference,
    ),
    Format("sharegpt-preference", "conversations, chosen, rejected", preference_with("conversations"), preference),
    Format("orca-dpo", "system, question, chosen, rejected", preference_with("system", "question"), preference),
    Format("orca-dpo", "system, input, chosen, rejected", preference_with("system", "input"), preference),
    Format("truthy-dpo", "system, prompt, chosen, rejected", preference_with("system", "prompt"), preference),
    Format("preference", "prompt, chosen, rejected", is_preference, preference),
    Format(
        "pku-saferlhf", "prompt, response_0, response_1, better_response_id",
        has_fields("prompt", "response_0", "response_1", "better_response_id"),
        two_answers("response_0", "response_1", better_response),
    ),
    Format(
        "helpsteer-preference", "prompt, response_1, response_2, preference_strength",
        has_fields("prompt", "response_1", "response_2", "preference_strength"),
        two_answers("response_1", "response_2", preference_strength),
    ),
    Format(
        "kto", "instruction, input, output, kto_tag", has_fields("instruction", "output", "kto_tag"), labeled_alpaca
    ),
    Format("kto", "conversations, kto_tag", has_fields("conversations", "kto_tag"), labeled_messages),
    Format("kto", "messages, kto_tag", has_fields("messages", "kto_tag"), labeled_messages),
    Format("kto", "messages, label", has_fields("messages", "label"), labeled_messages),
    Format("kto", "prompt, completion, label", has_fields("prompt", "completion", "label"), labeled_completion),
    Format("messages", "messages[role, content]", has_list("messages"), chat("messages")),
    Format("sharegpt", "conversations[from, value]", has_list("conversations"), chat("conversations")),
    Format("ranked", "prompt, responses (best first, or with ranks or scores)", is_ranked, ranked),
    Format(
        "self-instruct", "instruction, instances[input, output]", has_fields("instruction", "instances"), seed_tasks
    ),
    Format(
        "dolphin", "instruction (system), input (question), output", is_dolphin,
        question_and_answer("instruction", "input", "output"),
    ),
    Format("alpaca", "instruction, input, output", has_fields("instruction", "output"), alpaca),
    Format(
        "dolly", "instruction, context, response", has_fields("instruction", "response"),
        question_and_answer("system", "instruction", "response", context="context"),
    ),
    Format(
        "openorca", "system_prompt, question, response", has_fields("question", "response"),
        question_and_answer("system_prompt", "question", "response"),
    ),
    Format("prompt-completion", "prompt, completion", has_fields("prompt", "completion"), prompt_completion),
    Format(
        "prompt-completion", "prompt, response", has_fields("prompt", "response"),
        question_and_answer("system", "prompt", "response"),
    ),
    Format("guanaco", "text (### Human: ... ### Assistant: ...)", is_guanaco, guanaco),
    Format("text", "text", has_fields("text"), plain_text("text")),
)  # fmt: skip
