"""The door: right passwords open it, guessing gets slow."""

from __future__ import annotations

from streamlit_app.gate import Gate


def test_only_the_password_opens_it() -> None:
    gate = Gate("grüne Wiese")
    assert not gate.lets_in("")
    assert not gate.lets_in("grüne wiese")
    assert gate.lets_in("grüne Wiese")


def test_after_five_wrong_ones_even_the_right_one_must_wait() -> None:
    gate = Gate("open sesame")
    for _ in range(4):
        assert not gate.lets_in("guess")
        assert gate.seconds_shut() == 0
    assert not gate.lets_in("guess")
    assert 0 < gate.seconds_shut() <= 1
    assert not gate.lets_in("open sesame")


def test_the_wait_doubles_up_to_a_minute(monkeypatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("streamlit_app.gate.time.monotonic", lambda: now[0])
    gate = Gate("open sesame")
    waits = []
    for _ in range(14):
        gate.lets_in("guess")
        waits.append(gate.seconds_shut())
        now[0] += gate.seconds_shut()
    assert waits == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert gate.lets_in("open sesame")
    gate.lets_in("guess")
    assert gate.seconds_shut() == 0, "the right one makes good for the wrong ones before it"
