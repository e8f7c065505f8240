"""What a merge costs on held-out text."""

from finetune.export.held_out import held_out_cost
from finetune.runs.manifest import read_manifest
from tests.finetune.export_home import Tuned


def test_the_dequantized_base_is_closer_to_the_trained_model(tuned: Tuned) -> None:
    cost = held_out_cost(tuned.run, read_manifest(tuned.run), tuned.merged)
    assert cost["merged"]["kl"] < 1e-5 < cost["original"]["kl"]
    assert abs(cost["merged"]["nll"] - cost["trained"]["nll"]) < 1e-3
