"""Answers repeat with their seed, stop when told, and raw text is continued without a template."""

import threading

import pytest

from finetune.templates.messages import Message
from finetune.train.generate import continue_text, generate
from finetune.train.load import LoadedModel, load_plain
from finetune.train.sampling import GREEDY, Sampling
from quire import UsageError
from tests.finetune.passes import forward_passes

ASKED = (Message("user", "What does the cow say?"),)


@pytest.fixture(scope="module", params=["qwen2", "phi"])
def loaded(request: pytest.FixtureRequest, models: dict[str, str]) -> LoadedModel:
    return load_plain(models[request.param], device="cpu")


def test_the_same_seed_repeats_the_answer_and_another_changes_it(loaded: LoadedModel) -> None:
    def answer(seed: int) -> str:
        return generate(loaded, ASKED, max_new_tokens=16, sampling=Sampling(temperature=1.0, seed=seed)).text

    assert answer(7) == answer(7)
    assert len({answer(seed) for seed in (7, 8, 9, -1, -1)}) == 5


def test_sampling_leaves_the_random_state_as_it_was(loaded: LoadedModel) -> None:
    import torch

    before = torch.random.get_rng_state()
    generate(loaded, ASKED, max_new_tokens=4, sampling=Sampling(temperature=1.0, seed=3))
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_limit_of_one_candidate_is_greedy(loaded: LoadedModel) -> None:
    greedy = generate(loaded, ASKED, max_new_tokens=12)
    for limit in ({"top_k": 1}, {"top_p": 0.01}, {"min_p": 1.0}):
        assert generate(loaded, ASKED, max_new_tokens=12, sampling=Sampling(temperature=0.5, **limit)) == greedy


def test_the_sampling_settings_that_come_with_a_model_are_not_used(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = (GREEDY, Sampling(temperature=1.0, seed=7))
    before = [generate(loaded, ASKED, max_new_tokens=12, sampling=sampling) for sampling in choices]
    theirs = {"do_sample": True, "temperature": 0.1, "top_k": 1, "top_p": 0.5, "min_p": 0.9, "repetition_penalty": 2.0}
    for name, value in theirs.items():
        monkeypatch.setattr(loaded.model.generation_config, name, value)
    assert [generate(loaded, ASKED, max_new_tokens=12, sampling=sampling) for sampling in choices] == before


def test_a_repetition_penalty_changes_a_repetitive_answer(loaded: LoadedModel) -> None:
    plain = generate(loaded, ASKED, max_new_tokens=24).text
    assert generate(loaded, ASKED, max_new_tokens=24, sampling=Sampling(repetition_penalty=2.0)).text != plain


def test_the_pieces_are_the_text(loaded: LoadedModel) -> None:
    pieces: list[str] = []
    found = generate(loaded, ASKED, max_new_tokens=12, emit=pieces.append)
    assert "".join(pieces) == found.text and len(pieces) > 3


def test_stop_ends_the_computation_with_the_pass_in_progress(loaded: LoadedModel) -> None:
    stop = threading.Event()
    with forward_passes(lambda number: stop.set() if number == 3 else None) as passes:
        found = generate(loaded, ASKED, max_new_tokens=200, stop=stop)
    assert len(passes) == 3 == found.tokens
    assert found.finish == "interrupted"


def test_raw_text_is_continued_as_the_model_alone_continues_it(loaded: LoadedModel) -> None:
    import torch

    ids = loaded.tokenizer("The dog says", add_special_tokens=False)["input_ids"]
    with forward_passes() as passes:
        found = continue_text(loaded, "The dog says", max_new_tokens=6)
    assert passes[0] == len(ids)  # nothing was added
    for _ in range(6):
        with torch.no_grad():
            ids.append(int(loaded.model(torch.tensor([ids])).logits[0, -1].argmax()))
    assert found.text == loaded.tokenizer.decode(ids[-6:])


def test_the_text_of_a_special_token_stays_text_in_raw_mode(loaded: LoadedModel) -> None:
    with forward_passes() as passes:
        continue_text(loaded, "<|endoftext|>", max_new_tokens=1)
    assert passes[0] > 1


def test_an_empty_raw_text_is_refused(loaded: LoadedModel) -> None:
    with pytest.raises(UsageError, match="give at least one word"):
        continue_text(loaded, "", max_new_tokens=1)
