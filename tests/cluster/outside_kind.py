"""The kind of examples/kinds, which no other file knows, in programs built with -DHEADCOUNT_KINDS_DIR: through plan, coordinator,
two workers, table, text and JSON. docs/adding-a-kind.md walks through its sources.
"""
import json
import math
import os
import sys

from cluster import Cluster, expect, run_cases

HERE = os.path.dirname(os.path.abspath(__file__))
SPEC = os.path.join(HERE, "../../examples/kinds/surprisal/example.toml")
N_ROWS, N_POSITIONS, N_SHARDS = 128, 5, 8


def a_spec_may_say_what_it_takes_and_nothing_else(headcount):
    with Cluster(headcount) as cluster, open(SPEC) as file:
        bad = os.path.join(cluster.state, "bad.toml")
        with open(bad, "w") as out:
            out.write(file.read().replace("positions = 5", "position = 5"))
        done = cluster.run("plan", bad, check=False)
        expect(done.returncode != 0 and 'did you mean "positions"?' in done.stderr, done.stderr)


def it_runs_from_plan_to_table(headcount):
    with Cluster(headcount) as cluster:
        stage = cluster.ask("plan", SPEC)["stages"][0]
        expect((stage["kind"], stage["shards"], stage["forward_passes"]) == ("surprisal", N_SHARDS, N_ROWS), stage)
        cluster.start_coordinator()
        for name in ("w0", "w1"):
            cluster.start_worker(name)
        with open(SPEC) as file:
            cluster.submit(file.read())
        cluster.wait_finished()
        results = cluster.results()
        rows = json.loads(results)["stages"][0]["rows"]
        expect([row["position"] for row in rows] == list(range(N_POSITIONS)), rows)
        for row in rows:
            expect(row["n"] == N_ROWS and 0 < row["value"] < 10 and row["se"] > 0, row)
        # A digit that no other is in sight of is guessed better than ten digits at random.
        expect(sum(row["value"] for row in rows) / N_POSITIONS < math.log(10), rows)
        text = cluster.run("results", "last").stdout
        expect("digits · surprisal" in text and "position" in text, text)
        n_attempts = cluster.query("SELECT count(*) FROM attempts")[0][0]
        expect(n_attempts == N_SHARDS, f"{n_attempts} attempts")
        with open(SPEC) as file:
            cluster.submit(file.read())
        cluster.wait_finished()
        expect(cluster.results() == results, "the same spec gave another table")
        expect(cluster.query("SELECT count(*) FROM attempts")[0][0] == n_attempts, "the same spec computed again")


if __name__ == "__main__":
    sys.exit(run_cases([a_spec_may_say_what_it_takes_and_nothing_else, it_runs_from_plan_to_table], __doc__))
