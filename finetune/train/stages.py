"""The stages of training as Python functions: what `quire finetune sft` and `quire finetune dpo` do."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from finetune.config import TrainConfig, build
from finetune.errors import RunError
from finetune.recipes import read_recipe, recipe_names, to_toml
from finetune.runs.claim import check_same_settings
from finetune.runs.manifest import MANIFEST_FILE, read_manifest, runs_folder
from finetune.train.complete import complete
from finetune.train.context import Progress
from finetune.train.load import template_of
from finetune.train.run import train
from quire import UsageError

logger = logging.getLogger(__name__)


def sft(
    settings: Mapping[str, Any], *, recipe: str = "", resume: bool = False, progress: Progress = logger.info
) -> Path:
    """Train a model on answers and return the folder of the run.

    `settings` are fields of TrainConfig, such as `{"model": "Qwen/Qwen2.5-0.5B-Instruct", "data": ["rows.jsonl"]}`; they
    override those of `recipe`, a TOML file or the name of a recipe of quire. Raises SettingsError and what `train` raises.
    """
    return train(stage_config("sft", settings, recipe=recipe), resume=resume, progress=progress)


def dpo(
    settings: Mapping[str, Any], *, recipe: str = "", resume: bool = False, progress: Progress = logger.info
) -> Path:
    """Train a model on preferences (DPO or any other preference loss) and return the folder of the run.

    `settings` are as for `sft`, usually with the SFT run to continue: `{"parent": "my-sft", "data": ["pairs.jsonl"]}`.
    """
    return train(stage_config("dpo", settings, recipe=recipe), resume=resume, progress=progress)


def train_unless_finished(config: TrainConfig, *, command: Sequence[str], progress: Progress) -> Path:
    """Train or resume a run and return its folder; a finished run is used as it is.

    Raises UsageError when the run was started with other settings.
    """
    folder = runs_folder() / config.name
    if not (folder / MANIFEST_FILE).is_file():
        return train(config, command=command, resume=folder.is_dir(), progress=progress)
    check_same_settings(complete(config), folder)
    progress(f"{config.name}: already finished")
    return folder


def stage_config(stage: str, settings: Mapping[str, Any], *, recipe: str = "") -> TrainConfig:
    """Return the settings of one stage, as `stage_settings` puts them together, with the defaults for the rest."""
    return build(stage_settings(stage, settings, recipe=recipe))


def stage_settings(stage: str, settings: Mapping[str, Any], *, recipe: str = "") -> dict[str, Any]:
    """Return what is set for one stage: by the recipe, overridden by `settings`; None means not set.

    With a parent and no model, the recipe's model and template are ignored: the parent decides them, and the method.
    Of held-out rows, `eval_data` and `eval_share` each replace the other one of the recipe.
    """
    values = read_recipe(recipe) if recipe else {}
    if values.get("stage", stage) != stage:
        own = ", ".join(name for name in recipe_names() if name.endswith(f"-{stage}"))
        raise UsageError(
            f"the recipe {recipe} is for {values['stage']}, not for {stage}",
            f"use it with `quire finetune {values['stage']}`, or give a TOML file for {stage} or one of: {own}",
        )
    if settings.get("parent") and settings.get("model") is None:
        values = {k: v for k, v in values.items() if k not in ("model", "template")}
    # both define held-out rows: the one that is given replaces the recipe's
    for one, other in (("eval_data", "eval_share"), ("eval_share", "eval_data")):
        if settings.get(one) and settings.get(other) is None:
            values.pop(other, None)
    given = {
        **settings,
        "stage": stage,
        "method": _method_of(str(settings.get("parent") or "")) or settings.get("method"),
    }
    return {**values, **{name: value for name, value in given.items() if value is not None}}


def _method_of(parent: str) -> str | None:
    """Return the method of a finished parent run, which the default learning rate depends on; None without one."""
    if not parent:
        return None
    try:
        return read_manifest(parent).method
    except RunError:  # `train` reports it, unless the parent is finished by then
        return None


def resolved_toml(config: TrainConfig) -> str:
    """Return the settings as they would train here, as TOML that `read_recipe` reads back.

    A name that was not given stays open. Where the model decides the template, a comment names it. Raises TemplateError
    for a template that does not exist.
    """
    done = replace(complete(config), name=config.name)
    template = template_of(done, None)  # raises for an unknown name
    comment = "" if done.template else f"# template: {template.name}, decided by the model\n"
    return comment + to_toml(done.to_dict())
