# SPDX-License-Identifier: GPL-2.0-only
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.formats.kconfig import merge, parse_config, parse_fragment, render, verify

FRAGMENTS = Path(__file__).parents[3] / "jobs" / "kconfig"


def test_a_fragment_gives_symbol_value_and_reason() -> None:
    text = '# title\n\n# two lines\n# of reason\nCONFIG_A=y\n# a number\nCONFIG_B=0x10\n# text\nCONFIG_C="x y"\n'
    a, b, c = parse_fragment(text, "f.config")
    assert (a.symbol, a.value, a.reason, a.where) == ("A", "y", "two lines of reason", "f.config:5")
    assert (b.value, c.value) == ("0x10", '"x y"')


def test_optional_is_said_in_the_reason() -> None:
    (setting,) = parse_fragment("# optional: not before 7.2\nCONFIG_A=y\n", "f")
    assert setting.optional
    assert setting.reason == "not before 7.2"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("CONFIG_A=y\n", "f:1: no reason above CONFIG_A"),
        ("# one\nCONFIG_A=y\nCONFIG_B=y\n", "f:3: no reason above CONFIG_B"),
        ("# a title, not a reason\n\nCONFIG_A=y\n", "f:3: no reason above CONFIG_A"),
        ("# optional:\nCONFIG_A=y\n", "f:2: no reason"),
        ("# why\nA=y\n", "f:2: cannot read 'A=y'"),
        ("# why\nCONFIG_A=yes\n", "f:2: cannot read"),
        ("# why\nCONFIG_A=y\n# why\nCONFIG_A=n\n", "f:4: CONFIG_A is already set"),
        ("# CONFIG_A is not set\n", "f:1: '# CONFIG_A is not set' would be read as a comment"),
    ],
)
def test_what_is_wrong_in_a_fragment_is_named(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_fragment(text, "f")
    assert says in caught.value.message
    assert caught.value.hint


def test_the_later_fragment_wins() -> None:
    first = parse_fragment("# 1\nCONFIG_A=y\n# 1\nCONFIG_B=y\n", "1")
    second = parse_fragment("# 2\nCONFIG_A=n\n", "2")
    assert render(merge(first, second)) == "CONFIG_A=n\nCONFIG_B=y\n"


def test_a_config_is_read() -> None:
    text = '# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C="a=b"\nCONFIG_D=-3\n'
    assert parse_config(text) == {"B": "y", "C": '"a=b"', "D": "-3"}


def test_what_was_asked_and_is_missing_is_named() -> None:
    asked = parse_fragment("# 1\nCONFIG_A=y\n# 2\nCONFIG_B=y\n# 3\nCONFIG_C=n\n# 4\nCONFIG_D=m\n", "f")
    config = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=y\nCONFIG_D=y\n"
    assert [str(miss) for miss in verify(asked, config)] == [
        "CONFIG_B: asked y, got n",
        "CONFIG_C: asked n, got y",
        "CONFIG_D: asked m, got y",
    ]


def test_an_optional_symbol_may_be_missing_but_not_different() -> None:
    asked = parse_fragment("# optional: x\nCONFIG_A=8\n", "f")
    assert verify(asked, "") == ()
    assert [miss.got for miss in verify(asked, "CONFIG_A=9\n")] == ["9"]


def test_a_symbol_that_is_off_may_be_unknown() -> None:
    assert verify(parse_fragment("# x\nCONFIG_A=n\n", "f"), "") == ()


def test_our_own_fragments_have_a_reason_for_each_symbol() -> None:
    plain = parse_fragment((FRAGMENTS / "plain.config").read_text(), "plain.config")
    debug = parse_fragment((FRAGMENTS / "debug.config").read_text(), "debug.config")
    assert len(plain) > 80
    assert len(debug) > 20
    assert not {s.symbol for s in plain} & {s.symbol for s in debug}
