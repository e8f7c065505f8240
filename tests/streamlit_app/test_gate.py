"""The right password is accepted; guessing gets slow."""

from __future__ import annotations

from streamlit_app.gate import Gate


def test_only_the_exact_password_is_accepted() -> None:
    gate = Gate("grüne Wiese")
    assert not gate.verify("")
    assert not gate.verify("grüne wiese")
    assert gate.verify("grüne Wiese")


def test_after_five_wrong_passwords_even_the_right_one_must_wait() -> None:
    gate = Gate("open sesame")
    for _ in range(4):
        assert not gate.verify("guess")
        assert gate.lockout_seconds() == 0
    assert not gate.verify("guess")
    assert 0 < gate.lockout_seconds() <= 1
    assert not gate.verify("open sesame")


def test_the_lockout_doubles_up_to_a_minute(monkeypatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("streamlit_app.gate.time.monotonic", lambda: now[0])
    gate = Gate("open sesame")
    waits = []
    for _ in range(14):
        gate.verify("guess")
        waits.append(gate.lockout_seconds())
        now[0] += gate.lockout_seconds()
    assert waits == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert gate.verify("open sesame")
    gate.verify("guess")
    assert gate.lockout_seconds() == 0, "the right one resets the count of wrong ones"
