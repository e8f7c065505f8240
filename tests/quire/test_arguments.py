import argparse

import pytest

from quire import positive_int


def test_a_positive_int_is_read():
    assert positive_int("12") == 12


@pytest.mark.parametrize("text", ["0", "-3", "1.5", "x", "", "\u0663"])
def test_anything_else_is_rejected_with_what_is_expected(text):
    with pytest.raises(argparse.ArgumentTypeError, match="not a whole number above 0"):
        positive_int(text)
