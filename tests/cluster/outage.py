"""The coordinator is killed while a shard runs and stays away for longer than a lease lives without a word: the shard
stays with its worker, whatever other workers are there, and nothing is computed twice."""
import argparse
import os
import signal
import time

from cluster import Cluster, children, expect, wait_until
from identity import spec


def outage(headcount, away_s):
    with Cluster(headcount) as cluster:
        cluster.start_coordinator()
        cluster.submit(spec(rows=32, path_samples=4))
        cluster.start_worker("w0")

        def runs():
            status = cluster.status()
            return any(worker["running"] > 0 for worker in status.get("workers", []))
        wait_until(runs, 60, "a shard runs")
        runners = children(cluster.workers["w0"].pid)
        for pid in runners:
            os.kill(pid, signal.SIGSTOP)  # its shard lasts as long as the outage
        time.sleep(1.5)
        cluster.coordinator.kill()
        cluster.coordinator.wait()
        time.sleep(away_s)
        cluster.start_coordinator()
        cluster.start_worker("w1")
        for pid in runners:
            os.kill(pid, signal.SIGCONT)
        cluster.wait_finished()
        outcomes = cluster.query("SELECT outcome, count(*) FROM attempts GROUP BY outcome")
        expect(all(outcome in ("done", "given back") for outcome, _ in outcomes), f"attempts ended {outcomes}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--headcount", required=True)
    parser.add_argument("--away", type=float, default=40, help="seconds")
    arguments = parser.parse_args()
    outage(os.path.abspath(arguments.headcount), arguments.away)
    print("a shard that ran through the outage was not computed again")
