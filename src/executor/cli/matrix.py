"""`executor matrix`: what every event does in every phase, observed by running it."""

from typing import Annotated

import typer

from executor.core import matrix as observed


def matrix(
    diagram: Annotated[bool, typer.Option("--diagram", help="Print the phases as a Mermaid diagram instead.")] = False,
) -> None:
    """Show what every event does in every phase of a trade.

    That is the next phase, what is asked of the exchange, and why an event is ignored or refused.
    """
    typer.echo(observed.diagram() if diagram else observed.render(), nl=False)
