"""OpenAssistant message trees, nested or flat, to threads and to pairs of ranked siblings."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from finetune.data.records import Conversation, Record
from finetune.data.sources.formats import ROLES, Choices, Place, ranked_pairs
from finetune.data.sources.problem import Problem
from finetune.data.sources.readers import Row
from finetune.errors import InvalidRecord, MalformedRow
from finetune.templates.messages import Message

Pick = Literal["best", "all", "concat"]


@dataclass(frozen=True, slots=True)
class TreeFilter:
    """Which messages of a tree are used; a message that is left out takes its replies along.

    `pick`: `best` follows the best ranked reply to each message, `all` takes every thread, `concat` joins sibling
    replies into one answer without context, as older scripts did (for comparison only). `depth` counts messages from
    the first one; None is no limit. `languages` empty means all.
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
    values: dict[str, Any]
    replies: list["_Node"] = field(default_factory=list)

    @property
    def order(self) -> tuple[float, str]:
        return (float("inf") if self.rank is None else self.rank, self.id)


@dataclass(slots=True)
class Harvest:
    """What a file of trees gave: records, problems, the rows that were used, and how many trees there were."""

    records: list[Record]
    problems: list[Problem]
    used_rows: set[int]
    trees: int


def is_tree(values: dict[str, Any]) -> bool:
    """Tell a row that holds a whole tree."""
    prompt = values.get("prompt")
    return isinstance(prompt, dict) and "text" in prompt and "role" in prompt


def is_message(values: dict[str, Any]) -> bool:
    """Tell a row that holds one message, with or without its replies."""
    return all(name in values for name in ("message_id", "parent_id", "text", "role"))


def harvest(rows: Iterable[Row], source: str, *, task: str, tree_filter: TreeFilter, choices: Choices) -> Harvest:
    """Make conversations (`sft`) or preferences of all trees, in the order of their ids.

    The order does not depend on that of the file, so the nested and the flat form of one export give equal rows.
    """
    result = Harvest([], [], set(), 0)
    roots = _roots(list(rows), source, result.problems)
    result.trees = len(roots)
    for root in sorted(roots, key=lambda node: node.id):
        left_out: Counter[str] = Counter()
        reason = _root_fault(root, tree_filter)
        if reason:
            left_out[reason] += 1
        else:
            _prune(root, tree_filter, left_out)
            _collect(root, source, task, tree_filter, choices, result)
        result.problems += [
            Problem(root.row, f"{count} message{'s' if count > 1 else ''} left out with their replies: {why}",
                    kind="filtered", source=source)
            for why, count in sorted(left_out.items())
        ]  # fmt: skip
    return result


def _node(values: dict[str, Any], place: Place) -> _Node:
    for name in ("message_id", "text", "role"):
        if not isinstance(values.get(name), str):
            raise place.fault(f"a message needs `{name}` as a text")
    if values["role"] not in ("prompter", "assistant"):
        raise place.fault(f"a message is of `prompter` or `assistant`, found {values['role']!r}")
    rank = values.get("rank")
    numbered = isinstance(rank, int | float) and not isinstance(rank, bool) and rank == rank
    return _Node(
        values["message_id"], ROLES[values["role"]], values["text"], float(rank) if numbered else None,  # type: ignore[arg-type]
        place.row, values,
    )  # fmt: skip


def _nested(values: dict[str, Any], place: Place, into: dict[str, _Node]) -> _Node:
    root = _node(values, place)
    stack = [(root, values)]
    while stack:
        node, plain = stack.pop()
        if node.id in into:
            raise place.fault(f"message {node.id} occurs twice")
        into[node.id] = node
        for reply in plain.get("replies") or []:
            if not isinstance(reply, dict):
                raise place.fault("`replies` holds something that is no message")
            child = _node(reply, place)
            node.replies.append(child)
            stack.append((child, reply))
    return root


def _roots(rows: list[Row], source: str, problems: list[Problem]) -> list[_Node]:
    nodes: dict[str, _Node] = {}
    tops: list[_Node] = []
    for row in rows:
        place = Place(source, row.number, row.line)
        try:
            if row.fault:
                raise place.fault(row.fault)
            tree = is_tree(row.values)
            if not tree and not is_message(row.values):
                raise place.fault("neither a tree nor a message of one")
            top = _nested(row.values["prompt"] if tree else row.values, place, nodes)
            if tree:
                top.values = {**top.values, "parent_id": None, "tree_state": row.values.get("tree_state")}
            tops.append(top)
        except MalformedRow as exc:
            problems.append(Problem.of(exc, dropped=True))
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


def _root_fault(root: _Node, tree_filter: TreeFilter) -> str:
    state = root.values.get("tree_state")
    if state not in (None, "ready_for_export"):
        return f"the tree is {state}"
    if root.role != "user":
        return "the tree begins with an assistant"
    return _fault(root, 1, tree_filter)


def _fault(node: _Node, depth: int, tree_filter: TreeFilter) -> str:
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


def _prune(root: _Node, tree_filter: TreeFilter, left_out: Counter[str]) -> None:
    stack = [(root, 1)]
    while stack:
        node, depth = stack.pop()
        kept = []
        for reply in sorted(node.replies, key=lambda reply: reply.order):
            reason = _fault(reply, depth + 1, tree_filter)
            if not reason and reply.role == node.role:
                reason = "a reply by the same speaker"
            if reason:
                left_out[reason] += 1
            else:
                kept.append(reply)
                stack.append((reply, depth + 1))
        node.replies = kept


def _collect(root: _Node, source: str, task: str, tree_filter: TreeFilter, choices: Choices, result: Harvest) -> None:
    place = Place(source, root.row, 0, group=root.id)
    before = len(result.records)
    if task == "preference":
        makers = _pairs(root, place, choices)
    elif tree_filter.pick == "concat":
        makers = _joined(root, place)
    else:
        makers = _threads(root, place, best=tree_filter.pick == "best")
    for record, path in makers:
        result.records.append(record)
        result.used_rows.update(node.row for node in path)
    if len(result.records) == before:
        what = "two ranked replies to one message" if task == "preference" else "an answer"
        result.problems.append(Problem(root.row, f"the tree holds no {what}", kind="empty", source=source))


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
        answered_further = any(reply.replies for reply in path[-1].replies)
        if path[-1].role == "assistant" and not answered_further:
            yield Conversation(_messages(path), place.source, place.row, place.group), path


def _joined(root: _Node, place: Place) -> Iterator[tuple[Record, list[_Node]]]:
    for path in _paths(root, best=False):
        node = path[-1]
        if node.role == "user" and node.replies:
            joined = "\n".join(reply.text for reply in node.replies)
            turns = (Message("user", node.text), Message("assistant", joined))
            yield Conversation(turns, place.source, place.row, place.group), [node, *node.replies]


def _pairs(root: _Node, place: Place, choices: Choices) -> Iterator[tuple[Record, list[_Node]]]:
    for path in _paths(root, best=False):
        ranked = [reply for reply in path[-1].replies if reply.rank is not None]
        if path[-1].role != "user" or len(ranked) < 2:
            continue
        answers = [(-float(reply.rank or 0), reply.text) for reply in ranked]
        try:
            for pair in ranked_pairs(_messages(path), answers, place, choices, "best-worst"):
                yield pair, path + ranked
        except InvalidRecord:  # equal ranks or equal texts: the tree's other messages still count
            continue
