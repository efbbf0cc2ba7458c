"""Commands that write a raw lake or look at one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from features.settings import Settings
from rex.cli.console import LakeArgument, OptionalLake, date, out, print_check, progress, refuse, utc


def simulate(
    lake: LakeArgument,
    users: int = 5_000,
    stories: int = 20_000,
    events: int = 1_000_000,
    days: int = 30,
    seed: int = 7,
    ends_at: Annotated[
        datetime | None,
        typer.Option(parser=date, metavar="DATE", help="when the simulated data end, UTC; default: last midnight"),
    ] = None,
) -> None:
    """Simulate a publishing site whose users' true interests are known, and write it as a raw lake.

    Example: [bold]rex simulate var/lake --users 500 --stories 2000 --events 50000[/]
    """
    from lake.simulator.config import WorldConfig
    from lake.simulator.run import simulate as run

    end = utc(ends_at) if ends_at else datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    config = WorldConfig(users=users, stories=stories, events=events, days=days, seed=seed, ends_at=end)
    with progress() as bars:
        summary = run(config, lake, bars)
    out.print(
        f"Wrote {summary.users:,} users, {summary.stories:,} stories, {summary.edges:,} edges and {summary.events:,} events "
        f"to {lake}.",
        soft_wrap=True,
    )


def _list_ready(wanted: bool) -> None:
    if wanted:
        from lake.ready_files import about, ready_files

        for name, sql in ready_files().items():
            out.print(f"[bold]{name}[/]  {escape(about(sql))}", soft_wrap=True)
        raise typer.Exit


def import_(
    sql: Annotated[Path, typer.Argument(help="a file of SQL, or the name of a ready one", show_default=False)],
    lake: LakeArgument,
    files: Annotated[
        Path | None,
        typer.Option("--files", help="folder of the files that the SQL names; default: that of the SQL file"),
    ] = None,
    as_of: Annotated[
        datetime | None,
        typer.Option(
            "--as-of",
            parser=date,
            metavar="DATE",
            help="UTC, such as 2026-01-31; when data without dates count as received; needed for those only",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="write nothing; show the first rows, and what would be refused and why")
    ] = False,
    list_ready: Annotated[
        bool, typer.Option("--list", help="list the ready files", is_eager=True, callback=_list_ready)
    ] = False,
) -> None:
    """Bring your own data into a new raw lake: one SQL view per dataset, over CSV, TSV, JSONL or Parquet files. All rows, or none.

    Example: [bold]rex import my-site.sql var/lake[/], where my-site.sql says

    \b
    CREATE VIEW stories AS SELECT id AS story_id, date AS published_at FROM csv('posts.csv');
    CREATE VIEW events AS SELECT reader AS user_id, post AS story_id,
           'read' AS type, unix_s(ts) AS occurred_at, file, line FROM csv('clicks.csv');

    Or with a ready file: [bold]rex import movielens var/lake --files ml-latest-small[/]. docs/your-data.md has all of it.
    """
    from lake.importing.sql_import import import_sql

    now, received = datetime.now(UTC), utc(as_of) if as_of else None
    with progress() as bars:
        report = import_sql(sql, lake, now=now, files=files, as_of=received, dry_run=dry_run, progress=bars)
    for text in (*report.notes, *report.results):
        out.print(text, markup=False, highlight=False, soft_wrap=True)
    out.print(report.table())
    if not dry_run:
        out.print(f"wrote {lake}")
        return
    for name, preview in report.previews.items():
        out.print(f"{name}, first rows:\n{preview}", markup=False, highlight=False, soft_wrap=True)
    if refused := report.refusal():
        refuse(f"nothing would be written, because these rows are refused:\n{refused}")


def check(lake: OptionalLake = None) -> None:
    """Look at every row of a raw lake, and say what a batch would refuse and why. Exit code 1 when it would stop.

    Example: [bold]rex check var/lake[/]
    """
    from lake.check import check_lake

    with progress() as bars:
        report = check_lake(lake or Settings().lake, datetime.now(UTC), bars)
    print_check(report)
    if problems := report.problems():
        refuse(" ".join(problems))
