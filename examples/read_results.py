#!/usr/bin/env python3
"""Reads results straight from a Headcount database: plain sqlite3, pandas where it is installed.

    python3 examples/read_results.py [STATE_FOLDER]

Cells are marked by "# %%": editors with notebook support run them one at a time. The views read here (head_importance, scores, diagnostics)
belong to the database (store/migrations.cc); `point` is the JSON of a row's axes.
"""

# %% Open the newest sweep, read-only: a running coordinator is not disturbed.
import json
import os
import sqlite3
import sys

state = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("HEADCOUNT_STATE", os.path.expanduser("~/.local/state/headcount"))
database = sqlite3.connect(f"file:{state}/headcount.sqlite?mode=ro", uri=True)
database.row_factory = sqlite3.Row
newest = database.execute("SELECT max(sweep) FROM (SELECT sweep FROM head_importance UNION SELECT sweep FROM scores)").fetchone()[0]
if newest is None:
    sys.exit(f"no finished table in {state} yet")


def axes(row):
    """A row's point as "model = mha, dataset = train, ig_steps = 16"."""
    point = {"model": row["model"], "dataset": row["dataset"], **json.loads(row["point"])}
    return ", ".join(f"{name} = {value}" for name, value in point.items())


# %% The strongest heads of every point. mask_prob NULL is the mean over mask probabilities.
points = database.execute("SELECT DISTINCT stage, model, dataset, point FROM head_importance WHERE sweep = ?", [newest]).fetchall()
for point in points:
    print(f"\n{point['stage']}: {axes(point)}")
    heads = database.execute(
        """SELECT layer, head, value, se, n FROM head_importance
           WHERE sweep = ? AND stage = ? AND model = ? AND dataset = ? AND point = ? AND mask_prob IS NULL AND value IS NOT NULL
           ORDER BY abs(value) DESC LIMIT 5""",
        [newest, *point],
    )
    for head in heads:
        error = f" ± {head['se']:.4f}" if head["se"] is not None else ""
        print(f"  layer {head['layer']} head {head['head']}: {head['value']:8.4f}{error}  (n = {head['n']})")

# %% How a head's score depends on how much of the answer is hidden.
by_probability = database.execute(
    """SELECT layer, head, mask_prob, value FROM head_importance
       WHERE sweep = ? AND stage = ? AND model = ? AND dataset = ? AND point = ? AND mask_prob IS NOT NULL
       ORDER BY layer, head, mask_prob""",
    [newest, *points[-1]],
).fetchall() if points else []
for layer, head in sorted({(row["layer"], row["head"]) for row in by_probability})[:4]:
    values = [f"p = {r['mask_prob']:g}: {r['value']:.4f}" for r in by_probability if (r["layer"], r["head"]) == (layer, head) and r["value"] is not None]
    print(f"layer {layer} head {head}:", ", ".join(values))

# %% Pruning curves and evaluations: one row a measured value. Random pruning: prune_seed NULL is the mean over random orders.
# In [ ] the 95 % interval; random arms of one or two heads: the middle 95 % of these orders.
for row in database.execute(
    """SELECT stage, metric, "which", k, value, low, high, model, dataset, point FROM scores
       WHERE sweep = ? AND prune_seed IS NULL AND value IS NOT NULL ORDER BY stage, metric, model, dataset, point, "which", k""",
    [newest],
):
    removed = f" {row['which'] or 'k ='} {row['k']}" if row["k"] is not None else ""
    interval = f" [{row['low']:.4f}, {row['high']:.4f}]" if row["low"] is not None else ""
    print(f"{row['stage']} {row['metric']}{removed}: {row['value']:.4f}{interval}  ({axes(row)})")

# %% The same with pandas: a layer x head table of the last point.
try:
    import pandas
except ImportError:
    print("\npandas is not installed: the cells above need only Python")
else:
    frame = pandas.read_sql("SELECT * FROM head_importance WHERE sweep = ? AND mask_prob IS NULL", database, params=[newest])
    if not frame.empty:
        keys = ["stage", "model", "dataset", "point"]
        last = frame[(frame[keys] == frame[keys].iloc[-1]).all(axis=1)]
        print("\n", last.pivot_table(index="layer", columns="head", values="value").round(3).to_string())
