"""`runstore completion`: what makes a shell complete the command."""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import get_completion_class

_VARIABLE: Final = "_RUNSTORE_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    r"""Print what makes a shell complete commands and options.

    \b
      bash:  echo 'eval "$(runstore completion bash)"' >>~/.bashrc
      zsh:   echo 'eval "$(runstore completion zsh)"' >>~/.zshrc
      fish:  mkdir -p ~/.config/fish/completions
             runstore completion fish >~/.config/fish/completions/runstore.fish
    """
    program = get_completion_class(shell)
    assert program is not None  # noqa: S101 - click has all three.
    click.echo(program(ctx.find_root().command, {}, "runstore", _VARIABLE).source())
