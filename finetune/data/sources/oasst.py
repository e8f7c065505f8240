"""OpenAssistant message trees, nested or flat, as conversations or as pairs of ranked replies."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from finetune.data.records import Conversation, Record
from finetune.data.sources.fields import ROLES, Fields, PairOptions, Place, Values, has_fields, read_fields
from finetune.data.sources.loaded import LoadedData
from finetune.data.sources.problem import Problem
from finetune.data.sources.ranked_formats import ranked_pairs
from finetune.data.sources.row import Row
from finetune.errors import InvalidRecord, MalformedRow
from finetune.templates.messages import Message
from quire import pluralize

Pick = Literal["best", "all", "concat"]


@dataclass(frozen=True, slots=True)
class TreeFilter:
    """Which messages of a tree are used; the replies to a dropped message are dropped with it.

    `pick`: `best` follows the best ranked reply to each message, `all` takes every thread, `concat` joins sibling
    replies into one answer without context, as older scripts did (for comparison only). `depth` is the longest
    thread in messages, None for no limit. `languages` empty means all.
    """

    pick: Pick = "best"
    languages: tuple[str, ...] = ()
    depth: int | None = None
    reviews: int = 0
    synthetic: bool = False


@dataclass(slots=True)
class _Node:
    id: str
    role: str
    text: str
    rank: float | None
    row: int
    values: Values
    replies: list["_Node"] = field(default_factory=list)

    @property
    def order(self) -> tuple[float, str]:
        return (float("inf") if self.rank is None else self.rank, self.id)


def is_tree(values: Values) -> bool:
    """Return whether a row is a whole tree."""
    prompt = values.get("prompt")
    return isinstance(prompt, dict) and "text" in prompt and "role" in prompt


def is_message(values: Values) -> bool:
    """Return whether a row is one message, with or without its replies."""
    return has_fields("message_id", "parent_id", "text", "role")(values)


def read_trees(
    rows: Iterable[Row],
    source: str,
    loaded: LoadedData,
    *,
    task: str,
    tree_filter: TreeFilter,
    options: PairOptions,
) -> None:
    """Add the conversations (`sft`) or the pairs (`preference`) of all trees, in the order of their ids.

    The order does not depend on that of the file, so the nested and the flat form of an export give equal records.
    """
    used_rows: set[int] = set()
    for root in sorted(_find_roots(rows, source, loaded.problems), key=lambda node: node.id):
        dropped: Counter[str] = Counter()
        if reason := _reason_to_drop_tree(root, tree_filter):
            dropped[reason] += 1
        else:
            _prune(root, tree_filter, dropped)
            used_rows |= _add_records(root, source, task, tree_filter, options, loaded)
        loaded.problems += [
            Problem(root.row, f"{pluralize(count, 'message')} dropped with all replies: {why}",
                    kind="filtered", source=source)
            for why, count in sorted(dropped.items())
        ]  # fmt: skip
    loaded.kept = len(used_rows)


def _node(values: Values, place: Place) -> _Node:
    for name in ("message_id", "text", "role"):
        if not isinstance(values.get(name), str):
            raise place.error(f"`{name}` of a message must be text")
    if values["role"] not in ("prompter", "assistant"):
        raise place.error(f"the role of a message must be `prompter` or `assistant`, found {values['role']!r}")
    rank = values.get("rank")
    has_rank = isinstance(rank, int | float) and not isinstance(rank, bool) and not math.isnan(rank)
    return _Node(
        values["message_id"], ROLES[values["role"]], values["text"], float(rank) if has_rank else None,  # type: ignore[arg-type]
        place.row, values,
    )  # fmt: skip


def _add_nested(values: Values, place: Place, nodes: dict[str, _Node]) -> _Node:
    """Add a message and its nested replies to the nodes, and return the message's node."""
    root = _node(values, place)
    stack = [(root, values)]
    while stack:
        node, plain = stack.pop()
        if node.id in nodes:
            raise place.error(f"message {node.id} occurs twice")
        nodes[node.id] = node
        for reply in plain.get("replies") or []:
            if not isinstance(reply, dict):
                raise place.error("`replies` must be messages")
            child = _node(reply, place)
            node.replies.append(child)
            stack.append((child, reply))
    return root


def _find_roots(rows: Iterable[Row], source: str, problems: list[Problem]) -> list[_Node]:
    """Return the first message of each tree, after attaching every flat message to its parent."""
    nodes: dict[str, _Node] = {}
    tops: list[_Node] = []
    for row in rows:
        try:
            tops.append(_read_top(read_fields(row, source), nodes))
        except MalformedRow as exc:
            problems.append(Problem.malformed(exc))
    roots = []
    for node in tops:
        parent = node.values.get("parent_id")
        if not parent:
            roots.append(node)
        elif parent in nodes:
            nodes[parent].replies.append(node)
        else:
            problems.append(Problem(node.row, f"its parent {parent} is not in the file", kind="orphan", dropped=True,
                                    source=source))  # fmt: skip
    return roots


def _read_top(row: Fields, nodes: dict[str, _Node]) -> _Node:
    """Read the tree or the message of one row."""
    if is_tree(row.values):
        top = _add_nested(row.values["prompt"], row.place, nodes)
        top.values = {**top.values, "parent_id": None, "tree_state": row.values.get("tree_state")}
        return top
    if is_message(row.values):
        return _add_nested(row.values, row.place, nodes)
    raise row.place.error("neither a message tree nor one of its messages")


def _reason_to_drop_tree(root: _Node, tree_filter: TreeFilter) -> str:
    state = root.values.get("tree_state")
    if state not in (None, "ready_for_export"):
        return f"the tree is {state}"
    if root.role != "user":
        return "the tree begins with an assistant message"
    return _reason_to_drop(root, 1, tree_filter)


def _reason_to_drop(node: _Node, depth: int, tree_filter: TreeFilter) -> str:
    values = node.values
    if values.get("deleted"):
        return "deleted"
    if values.get("review_result") is False:
        return "failed review"
    if values.get("synthetic") and not tree_filter.synthetic:
        return "synthetic"
    if tree_filter.languages and values.get("lang") not in tree_filter.languages:
        return f"language {values.get('lang')}"
    if (values.get("review_count") or 0) < tree_filter.reviews:
        return f"fewer than {tree_filter.reviews} reviews"
    if tree_filter.depth is not None and depth > tree_filter.depth:
        return f"deeper than {tree_filter.depth}"
    return "" if node.text.strip() else "empty"


def _prune(root: _Node, tree_filter: TreeFilter, dropped: Counter[str]) -> None:
    stack = [(root, 1)]
    while stack:
        node, depth = stack.pop()
        kept = []
        for reply in sorted(node.replies, key=lambda reply: reply.order):
            reason = _reason_to_drop(reply, depth + 1, tree_filter)
            if not reason and reply.role == node.role:
                reason = "a reply by the same speaker"
            if reason:
                dropped[reason] += 1
            else:
                kept.append(reply)
                stack.append((reply, depth + 1))
        node.replies = kept


def _add_records(
    root: _Node, source: str, task: str, tree_filter: TreeFilter, options: PairOptions, loaded: LoadedData
) -> set[int]:
    """Add the records of one tree and return the rows that they use."""
    place = Place(source, root.row, 0, group=root.id)
    if task == "preference":
        found = list(_pairs(root, place, options))
    elif tree_filter.pick == "concat":
        found = list(_joined_replies(root, place))
    else:
        found = list(_threads(root, place, best=tree_filter.pick == "best"))
    if not found:
        what = "two ranked replies to one message" if task == "preference" else "answer"
        loaded.problems.append(Problem(root.row, f"the tree has no {what}", kind="empty", source=source))
    loaded.records += [record for record, _ in found]
    return {node.row for _, nodes in found for node in nodes}


def _paths(root: _Node, *, best: bool) -> Iterator[list[_Node]]:
    stack = [[root]]
    while stack:
        path = stack.pop()
        yield path
        replies = path[-1].replies
        if best and path[-1].role == "user":
            replies = replies[:1]
        stack += [[*path, reply] for reply in reversed(replies)]


def _messages(path: list[_Node]) -> tuple[Message, ...]:
    return tuple(Message(node.role, node.text) for node in path)


def _threads(root: _Node, place: Place, *, best: bool) -> Iterator[tuple[Record, list[_Node]]]:
    for path in _paths(root, best=best):
        continues = any(reply.replies for reply in path[-1].replies)
        if path[-1].role == "assistant" and not continues:
            yield Conversation(_messages(path), **place.origin()), path


def _joined_replies(root: _Node, place: Place) -> Iterator[tuple[Record, list[_Node]]]:
    for path in _paths(root, best=False):
        node = path[-1]
        if node.role == "user" and node.replies:
            joined = "\n".join(reply.text for reply in node.replies)
            turns = (Message("user", node.text), Message("assistant", joined))
            yield Conversation(turns, **place.origin()), [node, *node.replies]


def _pairs(root: _Node, place: Place, options: PairOptions) -> Iterator[tuple[Record, list[_Node]]]:
    for path in _paths(root, best=False):
        ranked = [reply for reply in path[-1].replies if reply.rank is not None]
        if path[-1].role != "user" or len(ranked) < 2:
            continue
        answers = [(-float(reply.rank or 0), reply.text) for reply in ranked]
        try:
            for pair in ranked_pairs(_messages(path), answers, place, options, "best-worst"):
                yield pair, path + ranked
        except InvalidRecord:  # equal ranks or equal texts; the tree's other messages still count
            continue
