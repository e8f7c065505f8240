"""The flags that decide which rows of a data set are used, shared by `data check|show|convert`."""

import argparse
from typing import Any

from quire import positive_int

SOURCE_HELP = "file, folder, catalog name or hub name"


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add one flag for each choice about data."""
    group = parser.add_argument_group("which rows, and as what")
    add = group.add_argument
    add("--format", metavar="NAME", help="format of the rows (default: detected)")
    add("--text-column", default="", metavar="NAME", help="train on the plain text of this column")
    add("--task", choices=("sft", "preference", "label"), help="convert the rows for this task")
    add("--pairs", choices=("best-worst", "best-random", "all"), help="pairs to make of ranked answers")
    add("--pick", choices=("best", "all", "concat"), default="best",
        help="which threads of message trees to use (default best)")  # fmt: skip
    add("--language", action="append", default=[], metavar="CODE",
        help="keep tree messages in this language (repeatable)")  # fmt: skip
    add("--depth", type=positive_int, metavar="N", help="longest thread of a tree, in messages")
    add("--reviews", type=int, default=0, metavar="N", help="minimum number of reviews of a tree message")
    add("--synthetic", action="store_true", help="keep machine-written messages of trees")
    add("--split", default="", metavar="NAME",
        help="split of a hub data set (default: the catalog's training split, else train)")  # fmt: skip
    add("--seed", type=int, default=0, metavar="N", help="seed of random choices (default 0)")


def load_source(source: str, args: argparse.Namespace, *, strict: bool) -> Any:
    """Return the loaded data of a source under the flags of `add_data_options`."""
    from finetune.data.sources.loader import load_data
    from finetune.data.sources.oasst import TreeFilter

    trees = TreeFilter(args.pick, tuple(args.language), args.depth, args.reviews, args.synthetic)
    return load_data(
        source,
        format=args.format,
        text_column=args.text_column,
        task=args.task,
        pairs=args.pairs,
        tree_filter=trees,
        split=args.split,
        seed=args.seed,
        strict=strict,
    )
