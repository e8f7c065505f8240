"""A merge of a model with Qwen2.5's vocabulary is measured without keeping whole rows of log-probabilities."""

import json
from pathlib import Path

import pytest

from tests.finetune.peak import peak_of

VOCABULARY, HIDDEN = 151_936, 896  # of Qwen2.5-0.5B
_MERGE = """
import sys
from pathlib import Path
from finetune.export.merge import merge

report = merge("large", Path(sys.argv[1]))
assert set(report.held_out) == {"trained", "original", "merged"}
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_merge_with_a_vocabulary_of_151936_tokens_stays_below_3_gb(home: Path, tmp_path: Path) -> None:
    """Planted fault: log-probabilities of all rows of three models at once, here 2.5 GB, of a real run 20 GB."""
    from finetune.config import build
    from finetune.demo.tiny import make_model, make_tokenizer
    from finetune.train.run import train

    tokenizer = make_tokenizer("qwen2")
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    make_model("qwen2", VOCABULARY, hidden=HIDDEN, layers=1, **ends).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    answer = "The cow says moo and the dog says woof. " * 40
    rows = [{"instruction": f"Question {i}?", "input": "", "output": answer} for i in range(8)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    settings = {"model": str(tmp_path / "base"), "name": "large", "method": "qlora", "device": "cpu", "max_steps": 1,
                "batch_size": 1, "accumulation": 1, "max_length": 200,
                "data": (str(tmp_path / "rows.json"),)}  # fmt: skip
    report = json.loads((train(build(settings), progress=lambda _: None) / "report.json").read_text())
    positions = report["rows"]["trained_tokens"]
    assert 3 * 4 * VOCABULARY * positions > 2e9  # what the fault holds
    peak, _ = peak_of(_MERGE, str(tmp_path / "merged"))
    assert peak < 2.8e9  # the 23 other layers of a real one are 0.2 GB in 4 bits
