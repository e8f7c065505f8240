"""Well-known public data sets: their names on the hub, formats, sizes and licenses."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """A public data set; `rows` is the size of its training split, `split`, as its authors state it."""

    name: str
    hub: str
    format: str
    task: str
    rows: int
    licence: str
    fields: str
    note: str = ""
    split: str = "train"
    test_split: str = ""

    def to_dict(self) -> dict[str, object]:
        """Return the entry as plain values."""
        return asdict(self)


CATALOG: tuple[Entry, ...] = (
    Entry("oasst1", "OpenAssistant/oasst1", "oasst", "sft, preference", 84_437, "Apache-2.0",
          "message_id, parent_id, text, role, lang, rank, review_result, deleted, synthetic", "flat message trees"),
    Entry("oasst2", "OpenAssistant/oasst2", "oasst", "sft, preference", 128_575, "Apache-2.0",
          "message_id, parent_id, text, role, lang, rank, review_result, deleted, synthetic", "flat message trees"),
    Entry("no_robots", "HuggingFaceH4/no_robots", "messages", "sft", 9_500, "CC-BY-NC-4.0",
          "prompt, prompt_id, messages, category", "not for commercial use"),
    Entry("ultrachat_200k", "HuggingFaceH4/ultrachat_200k", "messages", "sft", 207_865, "MIT",
          "prompt, prompt_id, messages", split="train_sft", test_split="test_sft"),
    Entry("openhermes-2.5", "teknium/OpenHermes-2.5", "sharegpt", "sft", 1_001_551, "not stated",
          "conversations, source", "its sources have their own licenses"),
    Entry("openorca", "Open-Orca/OpenOrca", "openorca", "sft", 4_233_923, "MIT",
          "id, system_prompt, question, response"),
    Entry("dolphin", "cognitivecomputations/dolphin", "dolphin", "sft", 3_731_870, "Apache-2.0",
          "instruction (the system text), input (the question), output"),
    Entry("hh-rlhf", "Anthropic/hh-rlhf", "hh-rlhf", "preference", 160_800, "MIT",
          "chosen, rejected", "whole transcripts; rows with unequal beginnings are dropped"),
    Entry("ultrafeedback", "openbmb/UltraFeedback", "ultrafeedback", "preference", 63_967, "MIT",
          "source, instruction, models, completions", "ratings are averaged; overall_score is not used"),
    Entry("ultrafeedback_binarized", "HuggingFaceH4/ultrafeedback_binarized", "ultrafeedback-binarized", "preference",
          61_135, "MIT", "prompt, prompt_id, chosen, rejected, messages, score_chosen, score_rejected",
          "ties are dropped", split="train_prefs", test_split="test_prefs"),
    Entry("orca_dpo_pairs", "Intel/orca_dpo_pairs", "orca-dpo", "preference", 12_859, "Apache-2.0",
          "system, question, chosen, rejected"),
    Entry("helpsteer", "nvidia/HelpSteer", "helpsteer", "preference", 35_331, "CC-BY-4.0",
          "prompt, response, helpfulness, correctness, coherence, complexity, verbosity",
          "the best and the worst answer to each prompt"),
    Entry("truthy-dpo", "jondurbin/truthy-dpo-v0.1", "truthy-dpo", "preference", 1_016, "CC-BY-4.0",
          "id, source, system, prompt, chosen, rejected"),
)  # fmt: skip


def hub_name(name: str) -> str:
    """Return the hub name of a catalog name; any other name is returned unchanged."""
    known = {entry.name: entry.hub for entry in CATALOG}
    return known.get(name.lower(), name)


def training_split(hub: str) -> str:
    """Return the split of a data set of the hub to train on: the catalog's, else `train`."""
    return next((entry.split for entry in CATALOG if entry.hub.lower() == hub.lower()), "train")
