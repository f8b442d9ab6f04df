"""The law of identity, with real programs: however many workers ran a sweep, and whatever was killed meanwhile, the
bytes of `headcount results --format json` are equal; no recorded result is lost, none is recorded twice; the same spec
again executes nothing; a larger spec executes only what is missing.

A seed on the command line replays the same choice of victims (moments depend on the machine, too).
"""
import argparse
import random
import sqlite3
import sys
import time

from cluster import Cluster, Failure, children, expect, wait_until

SPEC = """
name = "identity"
seed = 7

[models.small]
path = "builtin:addition"

[datasets.train]
task = "addition"
split = "train"
rows = {rows}

[datasets.few]
task = "addition"
split = "train"
rows = 16

[datasets.test]
task = "addition"
split = "test"
rows = 32

[[stage]]
name = "importance"
kind = "head_importance"
model = "small"
dataset = "train"
mask_probs = {mask_probs}
mask_samples = 1
path_mode = "stochastic_threshold"
path_samples = {path_samples}
quadrature = "trapezoid"
ig_steps = 2

[[stage]]
name = "default_rule"
kind = "head_importance"
model = "small"
dataset = "few"
mask_probs = [0.3, 0.7]
mask_samples = 1
path_mode = "diagonal"
tol = 0.1

[[stage]]
name = "pruning"
kind = "head_pruning"
scores = {{ stage = "importance" }}
dataset = "test"
which = ["most", "least"]
k = [1, 4]
"""


def spec(rows=64, path_samples=4, mask_probs="[0.3, 0.7]"):
    return SPEC.format(rows=rows, path_samples=path_samples, mask_probs=mask_probs)


LONG = spec(rows=128, path_samples=16, mask_probs="[0.2, 0.5, 0.8]")


def recorded(cluster):
    """{(shard, tag): hash} straight from the file; nothing may ever leave it."""
    with sqlite3.connect(f"file:{cluster.state}/headcount.sqlite?mode=ro", uri=True, timeout=30) as database:
        return {(shard, tag): digest for shard, tag, digest in database.execute("SELECT shard, tag, hash FROM result")}


def check_books(cluster):
    """What the database must say once a sweep has ended."""
    with sqlite3.connect(f"file:{cluster.state}/headcount.sqlite?mode=ro", uri=True, timeout=30) as database:
        twice = database.execute("SELECT count(*) FROM (SELECT 1 FROM result GROUP BY shard, tag HAVING count(*) > 1)")
        expect(twice.fetchone()[0] == 0, "a result was recorded twice")
        done = database.execute("SELECT count(*) FROM (SELECT 1 FROM attempt WHERE outcome = 'done' GROUP BY shard "
                                "HAVING count(*) > 1)")
        expect(done.fetchone()[0] == 0, "two attempts at one shard claim the result")
        alarms = [text for (text,) in database.execute("SELECT text FROM alarm")]
        expect(not alarms, f"alarms: {alarms}")
        quarantined = database.execute("SELECT count(*) FROM quarantine").fetchone()[0]
        expect(quarantined == 0, f"{quarantined} shards are quarantined")


def attempts(cluster):
    return cluster.query("SELECT count(*) FROM attempts")[0][0]


def quiet_run(headcount, n_workers, text):
    with Cluster(headcount) as cluster:
        cluster.start_coordinator()
        for i in range(n_workers):
            cluster.start_worker(f"w{i}")
        cluster.submit(text)
        cluster.wait_finished()
        check_books(cluster)
        return cluster.results(), len(recorded(cluster))


def kill_one(cluster, rng, names):
    """Kills a victim with SIGKILL, restarts it where it is a daemon; returns what it was and what was recorded then."""
    victim = rng.choice(["coordinator", "worker", "runner", "everything"])
    if victim == "runner":
        runners = children(cluster.workers[rng.choice(names)].pid)
        if runners:
            cluster.kill(rng.choice(runners))
        return victim, recorded(cluster)
    if victim in ("coordinator", "everything"):
        cluster.kill(cluster.coordinator)
    killed = names if victim == "everything" else [rng.choice(names)] if victim == "worker" else []
    for name in killed:
        cluster.kill(cluster.workers[name])
    now = recorded(cluster)
    if victim in ("coordinator", "everything"):
        cluster.start_coordinator()
    for name in killed:
        cluster.start_worker(name)
    return victim, now


def killed_run(headcount, seed, reference, n_results):
    """Coordinator, workers and runners are killed at random moments while the sweep runs."""
    rng = random.Random(seed)
    names = ["w0", "w1", "w2"]
    with Cluster(headcount) as cluster:
        cluster.start_coordinator()
        for name in names:
            cluster.start_worker(name)
        cluster.submit(LONG)
        seen, kills = {}, []
        for moment in sorted(rng.uniform(0, 0.9) for _ in range(rng.randint(3, 6))):
            wait_until(lambda: len(recorded(cluster)) >= moment * n_results, 300, f"{moment:.0%} is recorded")
            time.sleep(rng.uniform(0, 0.2))
            victim, now = kill_one(cluster, rng, names)
            kills.append(f"{victim} at {len(now)}")
            expect(all(now.get(place) == digest for place, digest in seen.items()), "a recorded result was lost")
            seen = now
        cluster.wait_finished()
        for name in names:
            expect(cluster.workers[name].poll() is None, f"worker {name} ended by itself: {cluster.said(name)}")
        now = recorded(cluster)
        expect(all(now.get(place) == digest for place, digest in seen.items()), "a recorded result was lost")
        check_books(cluster)
        expect(cluster.results() == reference, "the bytes of the results differ from the quiet run's")
        print(f"  seed {seed}: killed {', '.join(kills)}; {attempts(cluster)} attempts for {len(now)} results: equal",
              flush=True)


def grown_runs(headcount):
    """The same spec again executes nothing; more of something executes only what is missing."""
    with Cluster(headcount) as cluster:
        cluster.start_coordinator()
        cluster.start_worker("w0")
        cluster.start_worker("w1")
        cluster.submit(spec())
        cluster.wait_finished()
        before, reference = attempts(cluster), cluster.results()
        cluster.submit(spec())
        cluster.wait_finished(30)
        expect(attempts(cluster) == before, "the same spec again executed shards")
        expect(cluster.results() == reference, "the same spec again gives other bytes")
        print("  the same spec again: 0 shards executed", flush=True)
        for what, text in (("path_samples 4 -> 16", spec(path_samples=16)), ("rows 64 -> 128", spec(rows=128)),
                           ("one more mask probability", spec(mask_probs="[0.3, 0.5, 0.7]"))):
            before = attempts(cluster)
            with open(f"{cluster.state}/grown.toml", "w") as file:
                file.write(text)
            planned = cluster.ask("plan", f"{cluster.state}/grown.toml")["stages"][0]
            expect(0 < planned["to_run"] < planned["unique"], f"{what}: the plan is {planned}")
            cluster.submit(text)
            cluster.wait_finished()
            importance = cluster.query("SELECT count(*) FROM attempts a JOIN shards s ON s.key = a.key WHERE s.sweep = "
                                       "(SELECT max(sweep) FROM shards) AND s.stage = 'importance'")[0][0]
            executed = attempts(cluster) - before
            pruning = cluster.query("SELECT count(*) FROM shards WHERE sweep = (SELECT max(sweep) FROM shards) AND "
                                    "stage = 'pruning'")[0][0]
            expect(planned["to_run"] <= executed <= planned["to_run"] + pruning,
                   f"{what}: executed {executed}, planned {planned['to_run']} and up to {pruning} of pruning")
            expect(importance == planned["unique"], f"{what}: {importance} attempts for {planned['unique']} shards")
            print(f"  {what}: {planned['to_run']} of {planned['unique']} shards executed", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--headcount", required=True)
    parser.add_argument("--runs", type=int, default=5, help="how many runs with kills")
    parser.add_argument("--seed", type=int, default=1, help="of the first run with kills")
    options = parser.parse_args()
    try:
        print("one worker, three workers", flush=True)
        reference, n_results = quiet_run(options.headcount, 1, LONG)
        expect('"value"' in reference, "the results hold no rows")
        expect(quiet_run(options.headcount, 3, LONG)[0] == reference, "three workers give other bytes than one")
        print("the same and grown specs", flush=True)
        grown_runs(options.headcount)
        print(f"{options.runs} runs with kill -9", flush=True)
        for seed in range(options.seed, options.seed + options.runs):
            killed_run(options.headcount, seed, reference, n_results)
    except Failure as failure:
        print(f"FAILED: {failure}", file=sys.stderr)
        return 1
    print("the law of identity holds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
