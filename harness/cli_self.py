# SPDX-License-Identifier: GPL-2.0-only
"""What the program says of itself (completion, man page), and how loud every verb is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from importlib.metadata import version

import click
from click.shell_completion import get_completion_class

from harness.errors import UsageError
from harness.log import Loudness, set_loudness

PROGRAM = "xdna-harness"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes SHELL complete verbs and options.

    In ~/.bashrc or ~/.zshrc: eval "$(xdna-harness completion bash)", or zsh. For fish: xdna-harness completion fish,
    into ~/.config/fish/completions/xdna-harness.fish.
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"this click knows no completion for {shell}", hint="pip install --upgrade click")
    click.echo(kind(context.find_root().command, {}, PROGRAM, "_XDNA_HARNESS_COMPLETE").source())


@click.command()
@click.pass_context
def man(context: click.Context) -> None:
    """Print the man page: 'xdna-harness man | man -l -' to read it, 'xdna-harness man >
    ~/.local/share/man/man1/xdna-harness.1' to keep it."""
    from harness.manpage import render

    click.echo(render(context.find_root().to_info_dict(), version(PROGRAM), date.today()), nl=False)


def add_loudness(group: click.Group) -> None:
    """Give the program and each of its verbs -q and -v, wherever a person writes them."""
    for command in (group, *group.commands.values()):
        command.params += [
            click.Option(
                ["-q", "--quiet"], is_flag=True, expose_value=False, callback=_set(Loudness.QUIET),
                help="only results, warnings and errors",
            ),
            click.Option(
                ["-v", "--verbose"], is_flag=True, expose_value=False, callback=_set(Loudness.VERBOSE),
                help="also each program that is run",
            ),
        ]  # fmt: skip


def _set(loudness: Loudness) -> Callable[[click.Context, click.Parameter, bool], None]:
    def callback(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        if value:
            set_loudness(loudness)

    return callback


VERBS = (completion, man)
