"""`vflc lsp`: what editors start."""

from __future__ import annotations

import click


@click.command("lsp")
@click.option("--stdio", is_flag=True, help="Over stdin and stdout, as always; editors may say so.")
def command(stdio: bool) -> None:
    """Run the language server, which an editor starts and speaks with over stdin and stdout."""
    try:
        from vflc.lsp.server import serve
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("pygls", "lsprotocol", "attrs", "cattrs"):
            raise
        raise click.ClickException("the language server needs pygls: pip install 'vflc[lsp]'") from error
    serve()
