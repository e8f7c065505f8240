import pytest

from finetune.data.sources.loader import load_data
from finetune.data.sources.oasst import TreeFilter
from tests.finetune.data.sources.rows import write


def node(id, text, role, rank=None, replies=(), **more):
    return {"message_id": id, "text": text, "role": role, "lang": "en", "review_count": 3, "review_result": True,
            "deleted": False, "synthetic": False, "rank": rank, "replies": list(replies), **more}  # fmt: skip


def tree(id="t1", **more):
    return node(id, "Q", "prompter", replies=[
        node(f"{id}a", "worse", "assistant", 1, [node(f"{id}x", "why?", "prompter", replies=[node(f"{id}y", "so", "assistant")])]),
        node(f"{id}b", "best", "assistant", 0, [node(f"{id}c", "more?", "prompter", replies=[
            node(f"{id}d", "no", "assistant", 1), node(f"{id}e", "yes", "assistant", 0)]),
            node(f"{id}f", "unanswered", "prompter")]),
    ], **more)  # fmt: skip


def flat(root, parent=None):
    yield {**{k: v for k, v in root.items() if k != "replies"}, "parent_id": parent}
    for reply in root["replies"]:
        yield from flat(reply, root["message_id"])


def texts(loaded):
    return [[m.content for m in r.messages] for r in loaded.records]


def wrap(root):
    return {"message_tree_id": root["message_id"], "tree_state": "ready_for_export", "prompt": root}


def test_a_tree_becomes_its_best_thread_with_full_context(tmp_path):
    loaded = load_data(write(tmp_path, [wrap(tree())]))
    assert loaded.format == "oasst"
    assert texts(loaded) == [["Q", "best", "more?", "yes"]]
    assert loaded.records[0].group == "t1"


def test_nested_and_flat_trees_become_the_same_records_in_the_same_order(tmp_path):
    roots = [tree("t2"), tree("t1")]
    nested = write(tmp_path, [wrap(r) for r in roots], "nested.jsonl")
    roots_only = write(tmp_path, [{**r, "parent_id": None} for r in roots], "roots.jsonl")
    rows = [row for root in reversed(roots) for row in flat(root)]
    single = write(tmp_path, rows[::-1], "flat.jsonl")
    for task in ("sft", "preference"):
        all_rows = [[r.to_dict() for r in load_data(p, task=task).records] for p in (nested, roots_only, single)]
        assert all_rows[0] == all_rows[1] == all_rows[2]
        assert len(all_rows[0]) == (2 if task == "sft" else 4)


def test_pairs_are_ranked_replies_with_their_context(tmp_path):
    records = load_data(write(tmp_path, [wrap(tree())]), task="preference").records
    assert [([m.content for m in r.prompt], r.chosen[0].content, r.rejected[0].content) for r in records] == [
        (["Q"], "best", "worse"),
        (["Q", "best", "more?"], "yes", "no"),
    ]


def test_concat_reproduces_the_joined_rows(tmp_path):
    loaded = load_data(write(tmp_path, [wrap(tree())]), tree_filter=TreeFilter(pick="concat"))
    assert ["Q", "best\nworse"] in texts(loaded)
    assert ["more?", "yes\nno"] in texts(loaded)


@pytest.mark.parametrize(
    ("change", "tree_filter", "why"),
    [
        ({"lang": "de"}, TreeFilter(languages=("en",)), "language de"),
        ({"deleted": True}, TreeFilter(), "deleted"),
        ({"synthetic": True}, TreeFilter(), "synthetic"),
        ({"review_result": False}, TreeFilter(), "failed review"),
        ({"review_count": 1}, TreeFilter(reviews=2), "fewer than 2 reviews"),
    ],
)
def test_replies_to_a_dropped_message_are_dropped_and_counted(tmp_path, change, tree_filter, why):
    root = tree()
    root["replies"][1].update(change)
    loaded = load_data(write(tmp_path, [wrap(root)]), tree_filter=tree_filter)
    assert texts(loaded) == [["Q", "worse", "why?", "so"]]
    assert [(p.row, p.problem) for p in loaded.problems] == [(1, f"1 message dropped with all replies: {why}")]


def test_depth_limits_threads(tmp_path):
    assert texts(load_data(write(tmp_path, [wrap(tree())]), tree_filter=TreeFilter(depth=2))) == [["Q", "best"]]


def test_an_orphan_is_named(tmp_path):
    rows = [*flat(tree()), {**node("z", "?", "assistant"), "parent_id": "gone"}]
    loaded = load_data(write(tmp_path, rows))
    assert [(p.row, p.problem) for p in loaded.problems] == [(10, "its parent gone is not in the file")]
