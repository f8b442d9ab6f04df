"""What is stored, with real programs: a flipped bit, a copy that is restored, a key whose results are taken back, another
program's lock."""
import json
import os
import sqlite3
import sys
import time

from cluster import Cluster, expect, run_cases
from identity import spec

FLIP = "UPDATE result SET data = CAST(substr(data, 1, length(data) - 1) || x'7f' AS BLOB) WHERE rowid = 2"


def database(cluster):
    return sqlite3.connect(os.path.join(cluster.state, "headcount.sqlite"), timeout=30, isolation_level=None)


def checked(cluster):
    """Exit status and answer of `store check`."""
    done = cluster.run("store", "check", "--format", "json", check=False)
    return done.returncode, json.loads(done.stdout)


def computed(cluster):
    """The results of the spec by one worker."""
    cluster.start_coordinator()
    cluster.start_worker("w0")
    cluster.submit(spec())
    cluster.wait_finished()
    return cluster.results()


def check_and_backup(headcount):
    with Cluster(headcount) as cluster:
        before = computed(cluster)
        status, answer = checked(cluster)
        expect(status == 0 and answer["results"] > 2 and not answer["bad"], f"store check: {status}, {answer}")
        copy = os.path.join(cluster.state, "copy.sqlite")
        cluster.run("store", "backup", copy)
        expect(os.stat(copy).st_mode & 0o777 == 0o600, "others may read the copy")
        again = cluster.run("store", "backup", copy, check=False)
        expect(again.returncode == 1 and "exists already" in again.stderr, f"a copy was overwritten: {again}")
        database(cluster).execute(FLIP)
        status, answer = checked(cluster)
        expect(status == 1 and len(answer["bad"]) == 1, f"store check of a flipped bit: {status}, {answer}")
        cluster.submit(spec())
        cluster.wait_finished()
        expect(cluster.results() == before, "a flipped bit changed a table")
        expect("is damaged" in cluster.run("sweep", "status", "last").stdout, "a flipped bit raised no alarm")
        expect(checked(cluster)[0] == 0, "what is damaged still counts")
        cluster.run("coordinator", "stop")
        cluster.coordinator.wait(30)
        for end in ("", "-wal", "-shm"):
            if os.path.exists(path := os.path.join(cluster.state, "headcount.sqlite" + end)):
                os.unlink(path)
        os.rename(copy, os.path.join(cluster.state, "headcount.sqlite"))
        cluster.start_coordinator()
        expect(cluster.results() == before, "the restored copy says otherwise")
        expect(checked(cluster)[0] == 0, "the restored copy is damaged")


def set_aside(headcount):
    with Cluster(headcount) as cluster:
        before = computed(cluster)
        answer = cluster.ask("key", "revoke", "w0", "--set-aside")
        expect(answer["set_aside"] > 2, f"key revoke --set-aside: {answer}")
        status = cluster.run("sweep", "status", "last").stdout
        expect("WARNING" in status and "set aside since" in status, f"sweep status: {status}")
        expect("sweep retry" in cluster.run("sweep", "explain", "last").stdout, "sweep explain says nothing")
        expect("set aside since" in cluster.results(), "the results do not warn")
        cluster.start_worker("w1")
        cluster.run("sweep", "retry", "last")
        cluster.wait_finished()
        expect(cluster.results() == before, "the retried sweep says otherwise")
        workers = {worker for (worker,) in cluster.query("SELECT worker FROM shards")}
        expect(workers == {"w1"}, f"results of {workers} count")
        cluster.run("coordinator", "stop")
        cluster.coordinator.wait(30)
        answer = cluster.ask("key", "revoke", "w1", "--set-aside")  # without a coordinator
        expect(answer["set_aside"] > 2, f"key revoke --set-aside: {answer}")


def lock(headcount):
    with Cluster(headcount) as cluster:
        cluster.start_coordinator()
        cluster.start_worker("w0")
        cluster.submit(spec())
        other = database(cluster)
        other.execute("BEGIN EXCLUSIVE")
        time.sleep(10)
        info = cluster.ask("coordinator", "info")
        expect("another program holds the lock" in info["waits"], f"coordinator info: {info}")
        expect("WAITS" in cluster.run("sweep", "status", "last").stdout, "sweep status says nothing")
        expect("nothing can be recorded" in cluster.run("doctor", check=False).stdout, "doctor says nothing")
        refused = cluster.run("sweep", "cancel", "last", check=False)
        expect(refused.returncode == 1 and "nothing can be recorded" in refused.stderr, f"cancel: {refused}")
        other.execute("ROLLBACK")
        cluster.wait_finished()
        expect(cluster.coordinator.poll() is None and cluster.workers["w0"].poll() is None, "a program has ended")
        expect(cluster.ask("coordinator", "info")["waits"] == "", "it still waits")


if __name__ == "__main__":
    sys.exit(run_cases((check_and_backup, set_aside, lock), __doc__))
