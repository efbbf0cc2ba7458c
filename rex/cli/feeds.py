"""Commands that show a ranked feed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from features.settings import Settings
from rex.cli.console import out, progress


def feed(
    user: Annotated[str, typer.Argument(help="whose feed", show_default=False)],
    limit: Annotated[int, typer.Option(min=1, max=100)] = 10,
    url: Annotated[str | None, typer.Option(help="ask this server; default: rank in this process")] = None,
    story: Annotated[
        str | None, typer.Option("--story", help="also show how this story moved through the stages")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="also explain why the first story ranks first")] = False,
) -> None:
    """Print one user's feed, with reasons, and the funnel it came out of.

    Example: [bold]rex feed u000042 --limit 5 --explain[/]
    """
    from rex.cli.printing import print_feed

    if url is not None:
        from rex.cli.client import fetch_feed

        page, funnel = fetch_feed(url, user, limit, story, top=explain)
    else:
        from rex.cli.in_process import local_feed

        page, funnel = local_feed(Settings(), user, limit, story, top=explain)
    print_feed(out, user, page, funnel)


def demo(
    data: Annotated[Path | None, typer.Option(help="a DeskDrop directory instead of a simulated world")] = None,
    var: Annotated[Path, typer.Option(help="where everything is written; emptied first")] = Path("var/demo"),
    serve: Annotated[bool, typer.Option(help="keep serving after printing")] = True,
    users: int = 5_000,
    stories: int = 20_000,
    events: int = 1_000_000,
    port: Annotated[int, typer.Option(min=1, max=65_535)] = 8000,
    redis_url: Annotated[
        str,
        typer.Option("--redis", help="publish to this Redis under rex-demo:, emptied first; default: one of its own"),
    ] = "",
) -> None:
    """The whole loop: data → features → snapshot → a ranked feed over HTTP.

    Example: [bold]rex demo --no-serve --users 500 --stories 2000 --events 50000[/]
    """
    from rex.demo import DemoConfig, run_demo

    with progress() as bars:
        run_demo(DemoConfig(data, var, serve, users, stories, events, port, redis_url), out, bars)
