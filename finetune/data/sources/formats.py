"""The formats of training data that are read row by row, in the order in which they are detected."""

from finetune.data.sources.chat_formats import (
    alpaca,
    chat,
    guanaco,
    is_dolphin,
    is_guanaco,
    is_rendered,
    plain_text,
    prompt_completion,
    question_and_answer,
    seed_tasks,
)  # fmt: skip
from finetune.data.sources.fields import has_fields, has_messages
from finetune.data.sources.meanings import REJECTED
from finetune.data.sources.preference_formats import (
    ANSWER_FIELDS,
    beside_rejected,
    better_response,
    has_rejected,
    hh_rlhf,
    is_hh_rlhf,
    is_preference,
    preference,
    preference_strength,
    preference_with,
    shp,
    two_answers,
)  # fmt: skip
from finetune.data.sources.prompts import PROMPT_FIELDS
from finetune.data.sources.ranked_formats import ANSWER_LISTS, is_ranked, is_ultrafeedback, ranked, ultrafeedback
from finetune.data.sources.row_format import Format, reads

_PAIR = reads(" ".join((*PROMPT_FIELDS, *(name for pair in ANSWER_FIELDS for name in pair))))
_PAIR += ("score_chosen", "score_rejected", "chosen_score", "status", "in_gsm8k_train")

# Most specific first: a row has the first format that matches.
_PAIRS = (
    Format("hh-rlhf", "chosen, rejected (transcripts)", is_hh_rlhf, hh_rlhf, reads("chosen rejected", opening=False), "pair"),
    Format("shp", "history, human_ref_A, human_ref_B, labels", has_fields("human_ref_A", "human_ref_B", "labels"), shp,
           reads("history human_ref_A human_ref_B labels post_id", opening=False), "pair"),
    Format("ultrafeedback", "instruction, completions[response, annotations]", is_ultrafeedback, ultrafeedback,
           reads("instruction completions"), "pair"),
    Format("ultrafeedback-binarized", "prompt, chosen, rejected, score_chosen, score_rejected",
           preference_with("score_chosen", "score_rejected"), preference, _PAIR, "pair"),
    Format("sharegpt-preference", "conversations, chosen, rejected", preference_with("conversations"), preference, _PAIR, "pair"),
    Format("orca-dpo", "system, question, chosen, rejected", preference_with("system", "question"), preference, _PAIR, "pair"),
    Format("orca-dpo", "system, input, chosen, rejected", preference_with("system", "input"), preference, _PAIR, "pair"),
    Format("truthy-dpo", "system, prompt, chosen, rejected", preference_with("system", "prompt"), preference, _PAIR, "pair"),
    Format("preference", "prompt, chosen, rejected", is_preference, preference, _PAIR, "pair"),
    Format("pku-saferlhf", "prompt, response_0, response_1, better_response_id",
           has_fields("prompt", "response_0", "response_1", "better_response_id"),
           two_answers("response_0", "response_1", better_response),
           reads("prompt response_0 response_1 better_response_id"), "pair"),
    Format("helpsteer-preference", "prompt, response_1, response_2, preference_strength",
           has_fields("prompt", "response_1", "response_2", "preference_strength"),
           two_answers("response_1", "response_2", preference_strength),
           reads("prompt response_1 response_2 preference_strength"), "pair"),
)  # fmt: skip
CONVERSATIONS = (
    Format("messages", "messages[role, content]", has_messages("messages"), chat("messages"), reads("messages")),
    Format("sharegpt", "conversations[from, value]", has_messages("conversations"), chat("conversations"),
           reads("conversations")),
    *(Format("messages", f"{name}[role, content]", has_messages(name, strict=True), chat(name), reads(name))
      for name in ("conversation", "dialogue", "dialog", "chat")),
    Format("ranked", "prompt, responses (best first, or with ranks or scores)", is_ranked, ranked,
           reads(" ".join((*PROMPT_FIELDS, *ANSWER_LISTS, "scores", "ranks"))), "pair"),
    Format("self-instruct", "instruction, instances[input, output]", has_fields("instruction", "instances"), seed_tasks,
           reads("instruction instances")),
    Format("dolphin", "instruction (system), input (question), output", is_dolphin,
           question_and_answer("instruction", "input", "output"), reads("instruction input output")),
    Format("alpaca", "instruction, input, output", has_fields("instruction", "output"), alpaca,
           reads("instruction input output")),
    Format("dolly", "instruction, context, response", has_fields("instruction", "response"),
           question_and_answer("", "instruction", "response", context="context"), reads("instruction context response")),
    Format("openorca", "system_prompt, question, response", has_fields("question", "response"),
           question_and_answer("", "question", "response"), reads("question response")),
    Format("openorca", "question, answer", has_fields("question", "answer"),
           question_and_answer("", "question", "answer", context="context"), reads("question answer context")),
    Format("prompt-completion", "prompt, completion", has_fields("prompt", "completion"), prompt_completion,
           reads("prompt completion")),
    Format("prompt-completion", "prompt, response", has_fields("prompt", "response"),
           question_and_answer("", "prompt", "response"), reads("prompt response")),
    Format("prompt-completion", "query, response", has_fields("query", "response"),
           question_and_answer("", "query", "response"), reads("query response")),
    Format("guanaco", "text (### Human: ... ### Assistant: ...)", is_guanaco, guanaco, reads("text")),
    Format("rendered", "text (a conversation in ChatML, [INST], Alpaca's or another prompt)", is_rendered,
           plain_text("text"), reads("text")),
    Format("text", "text", has_fields("text"), plain_text("text"), reads("text", opening=False), "text"),
)  # fmt: skip
_ANSWERED = tuple(format for format in CONVERSATIONS if format.kind == "conversation")
_BESIDE = Format(
    "rejected-response", "messages or another conversation, rejected_response",
    lambda values: has_rejected(values) and any(format.matches(values) for format in _ANSWERED),
    beside_rejected(_ANSWERED),
    tuple(dict.fromkeys(name for format in _ANSWERED for name in (*format.reads, *REJECTED))), "pair",
)  # fmt: skip
ROW_FORMATS: tuple[Format, ...] = (*_PAIRS, _BESIDE, *CONVERSATIONS)
