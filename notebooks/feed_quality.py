"""Who dominates the feed, and how its sources behave.

`REX_LAKE=var/lake marimo edit notebooks/feed_quality.py`, or `marimo run`, or `marimo export html`.
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium")


@app.cell
def _():
    import marimo as mo
    import matplotlib.pyplot as plt
    import numpy as np

    from features.duckdb_views import connect
    from features.ranking_metrics import gini as gini_of
    from features.settings import Settings

    return Settings, connect, gini_of, mo, np, plt


@app.cell
def _(Settings, connect, mo):
    lake = Settings().lake
    db = connect(lake)
    as_of = db.sql("SELECT max(as_of)::VARCHAR FROM valid_events").fetchall()[0][0]
    mo.md(
        f"""
        # Feed quality

        Lake `{lake}`, events as validated by the batch run of **{as_of or "(none yet: run `rex batch`)"}**.
        Nothing here needs Spark: DuckDB reads the same Parquet that the jobs wrote, one view a dataset.
        """
    )
    return (db,)


@app.cell
def _(db):
    # The latest run only: every run holds all events up to its as_of.
    db.execute("""
        CREATE TEMP TABLE events AS
        SELECT * FROM valid_events WHERE as_of = (SELECT max(as_of) FROM valid_events)
    """)
    db.execute("""
        CREATE TEMP TABLE stories AS
        SELECT * FROM valid_stories WHERE as_of = (SELECT max(as_of) FROM valid_stories)
        QUALIFY row_number() OVER (PARTITION BY story_id ORDER BY updated_at DESC NULLS LAST) = 1
    """)
    # One row an impression. What followed is found through the request that showed the story.
    db.execute("""
        CREATE TEMP TABLE shown AS
        WITH acts AS (
            SELECT user_id, request_id, story_id, bool_or(type = 'open') AS opened, bool_or(type = 'read') AS read
            FROM events WHERE type IN ('open', 'read') AND request_id IS NOT NULL GROUP BY ALL
        )
        SELECT i.story_id, i.position, coalesce(i.source, 'unknown') AS source, 1 / i.propensity AS weight,
               coalesce(a.opened, false)::INTEGER AS opened, coalesce(a.read, false)::INTEGER AS read
        FROM events i LEFT JOIN acts a USING (user_id, request_id, story_id) WHERE i.type = 'impression'
    """)
    ((impressions, reads),) = db.sql("""
        SELECT count(*) FILTER (type = 'impression'), count(*) FILTER (type = 'read') FROM events
    """).fetchall()
    tables_made = True
    return impressions, reads, tables_made


@app.cell
def _(impressions, mo, reads):
    no_impressions = mo.md(
        "**This lake has no impressions**, only what users did. So below there are reads, and neither rates nor sources."
    )
    mo.vstack([mo.md(f"{impressions:,} impressions, {reads:,} reads."), *([] if impressions else [no_impressions])])
    return


@app.cell
def _(mo):
    mo.md(
        """
        ## Who dominates the feed

        Share of all impressions and reads per author, publication and story (those the lake knows). The Gini coefficient is 0 when all with a story get
        the same and near 1 when one gets everything. Reads more concentrated than impressions: readers choose so;
        impressions more concentrated than reads: the ranking pushes somebody.
        """
    )
    return


@app.cell
def _(db, tables_made):
    assert tables_made

    def dominance(entity):
        """One row an author, a publication (with a story) or a story: impressions and reads, most read first."""
        return db.sql(f"""
            SELECT s.{entity}_id AS name,
                   count(*) FILTER (e.type = 'impression') AS impressions, count(*) FILTER (e.type = 'read') AS reads
            FROM stories s LEFT JOIN events e USING (story_id)
            WHERE s.{entity}_id IS NOT NULL GROUP BY name ORDER BY reads DESC, impressions DESC, name
        """).fetchnumpy()

    found = {entity: dominance(entity) for entity in ("author", "publication", "story")}
    dominant = {entity: table for entity, table in found.items() if len(table["name"])}
    return (dominant,)


@app.cell
def _(dominant, gini_of, np):
    def lorenz(amounts):
        """Cumulated share of the total, least first: n + 1 points from 0 to 1; a straight line when there is no total."""
        ordered = np.sort(np.asarray(amounts, float))
        if not ordered.sum():
            return np.linspace(0, 1, len(ordered) + 1)
        return np.concatenate([[0], np.cumsum(ordered) / ordered.sum()])

    gini = {
        (entity, what): float(gini_of(np.asarray(amounts[what], float))) if sum(amounts[what]) else 0.0
        for entity, amounts in dominant.items()
        for what in ("impressions", "reads")
    }
    return gini, lorenz


@app.cell
def _(dominant, gini, lorenz, mo, np, plt):
    def plot_lorenz(axes, entity):
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="all equal")
        for what, style in (("impressions", "C0-"), ("reads", "C1--")):
            if dominant[entity][what].sum():
                curve = lorenz(dominant[entity][what])
                label = f"{what}, Gini {gini[entity, what]:.2f}"
                axes.plot(np.linspace(0, 1, len(curve)), curve, style, label=label)
        many = entity.removesuffix("y") + ("ies" if entity.endswith("y") else "s")
        axes.set(title=f"By {entity}", xlabel=f"share of {many}, least first", ylabel="share of the total")
        axes.legend(loc="upper left", frameon=False)

    def plot_top(axes, entity, top=10):
        found = dominant[entity]
        places = np.arange(min(top, len(found["name"])))
        for what, shift in (("impressions", -0.2), ("reads", 0.2)):
            if found[what].sum():
                shares = 100 * found[what][places] / found[what].sum()
                axes.barh(
                    places + shift, shares, height=0.38, label=what, color={"impressions": "C0", "reads": "C1"}[what]
                )
                axes.legend(loc="lower right", frameon=False)
        axes.set_yticks(places, [str(name)[:24] for name in found["name"][places]])
        axes.invert_yaxis()
        axes.set(title=f"Most read, by {entity}", xlabel="share of all, %")

    _size = {"figsize": (11, 4.2 * max(1, len(dominant))), "layout": "constrained"}
    dominance_figure, _axes = plt.subplots(max(1, len(dominant)), 2, squeeze=False, **_size)
    for _row, _entity in zip(_axes, dominant, strict=False):  # an empty lake has one row of empty axes
        plot_lorenz(_row[0], _entity)
        plot_top(_row[1], _entity)
    mo.as_html(dominance_figure)
    return (dominance_figure,)


@app.cell
def _(mo):
    mo.md(
        """
        ## How the sources behave

        Raw rates say as much about where a source's stories were put as about the stories. *Weighted* counts every impression
        1 / propensity times, that is, as if each story had had the same chance at each position (self-normalised inverse
        propensity; Swaminathan and Joachims, NIPS 2015). It is as sure as a plain mean of `effective` impressions would be.
        """
    )
    return


@app.cell
def _(db, tables_made):
    assert tables_made

    def rates(by):
        """One row per value of `by`: impressions, open rate, reads per open and per impression, raw and weighted."""
        return db.sql(f"""
            SELECT {by}, count(*) AS impressions, avg(opened) AS open_rate, avg(read) AS read_rate,
                   sum(read) / nullif(sum(opened), 0) AS reads_per_open,
                   sum(opened * weight) / sum(weight) AS weighted_open_rate,
                   sum(read * weight) / sum(weight) AS weighted_read_rate,
                   sum(weight) ** 2 / sum(weight ** 2) AS effective
            FROM shown WHERE {by} IS NOT NULL GROUP BY {by} ORDER BY {by}
        """).fetchnumpy()

    by_source, by_position = rates("source"), rates("position")
    return by_position, by_source


@app.cell
def _(by_position, by_source, impressions, mo, np, plt):
    def plot_sources(axes):
        places = np.arange(len(by_source["source"]))
        columns = ("open_rate", "weighted_open_rate", "read_rate", "weighted_read_rate")
        for number, column in enumerate(columns):
            values = 100 * np.ma.filled(np.ma.asarray(by_source[column], float), np.nan)
            look = {"color": f"C{number // 2}", "alpha": 0.5 if "weighted" in column else 1.0}
            axes.barh(places + 0.2 * (number - 1.5), values, height=0.18, label=column.replace("_", " "), **look)
        counts = by_source["impressions"]
        axes.set_yticks(places, [f"{s}\n{n:,} shown" for s, n in zip(by_source["source"], counts, strict=True)])
        axes.invert_yaxis()
        axes.set(title="By source", xlabel="of impressions, %")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2, frameon=False)

    def plot_positions(axes):
        for column, style in (("open_rate", "oC0-"), ("weighted_open_rate", "oC0:"), ("read_rate", "sC1-")):
            values = 100 * np.ma.asarray(by_position[column], float)
            axes.plot(by_position["position"], values, style, markersize=3, label=column.replace("_", " "))
        axes.set(
            title="By position", xlabel="position in the feed, 0 is the top", ylabel="of impressions, %", ylim=(0, None)
        )
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=3, frameon=False)

    if impressions:
        sources_figure, _pair = plt.subplots(1, 2, figsize=(11, 4.8), layout="constrained")
        plot_sources(_pair[0])
        plot_positions(_pair[1])
    else:
        sources_figure = None
    mo.md("No impressions, so no rates.") if sources_figure is None else sources_figure
    return (sources_figure,)


if __name__ == "__main__":
    app.run()
