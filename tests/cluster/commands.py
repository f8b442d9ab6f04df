"""Every command once, against a real coordinator and worker: what is asked on a terminal, by scripts (--format json) and
after the coordinator has gone."""
import hashlib
import json
import os
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time

from cluster import Cluster, expect, run_cases, wait_until
from identity import LONG, attempts, spec


def wait_for_results(cluster, n):
    wait_until(lambda: cluster.ask("sweep", "status", "last")["stages"][0]["done"] >= n, 60, f"{n} shards are done")


def orders(headcount):
    """pause, resume, cancel, retry, watch, explain, drain."""
    with Cluster(headcount) as cluster:
        cluster.start_coordinator()
        submitted = cluster.submit(LONG)
        expect(submitted["shards"] > 100, f"submit answers {submitted}")
        explained = cluster.ask("sweep", "explain", "last")["lines"]
        expect(explained, "nothing explains why a sweep without workers stands still")
        cluster.start_worker("w0")
        wait_for_results(cluster, 5)
        names = [worker["name"] for worker in cluster.ask("worker", "list")["workers"]]
        expect(names == ["w0"], f"worker list: {names}")
        expect(cluster.ask("sweep", "pause", "identity")["state"] == "paused", "it is not paused")
        time.sleep(1.5)  # what was running ends
        before = attempts(cluster)
        time.sleep(1)
        expect(attempts(cluster) == before, "a paused sweep is granted")
        rows = cluster.ask("results", "last")["stages"][0]["rows"]
        expect(rows, "a running sweep shows nothing")
        expect(cluster.ask("sweep", "resume", submitted["digest"][:8])["state"] == "running", "it is not resumed")
        wait_for_results(cluster, cluster.ask("sweep", "status", "last")["stages"][0]["done"] + 3)
        retried = cluster.run("sweep", "retry", "last", check=False)
        expect(retried.returncode == 1 and "no quarantined shard" in retried.stderr, f"retry: {retried}")
        cluster.run("worker", "drain", "w0")
        expect(cluster.workers["w0"].wait(60) == 0, f"the drained worker: {cluster.said('w0')}")
        expect(cluster.ask("sweep", "cancel", str(submitted["id"]))["state"] == "cancelled", "it is not cancelled")
        watched = cluster.run("sweep", "watch", "last", check=False)
        expect(watched.returncode == 1 and "cancelled" in watched.stdout, f"watch: {watched}")
        listed = cluster.ask("sweep", "list")["sweeps"]
        expect([sweep["state"] for sweep in listed] == ["cancelled"], f"sweep list: {listed}")


def ends_of_workers(headcount):
    """--idle-exit, --until, SIGTERM and a second one."""
    with Cluster(headcount) as cluster:
        cluster.start_coordinator()
        cluster.start_worker("idle", "--idle-exit", "1s")
        cluster.start_worker("until", "--until", "+2s")
        cluster.start_worker("termed")
        cluster.start_worker("twice")
        for name in ("termed", "twice"):
            wait_until(lambda: os.path.exists(f"{cluster.state}/workers/{name}/worker.json"), 30, f"{name} is welcomed")
        cluster.workers["termed"].terminate()
        for name in ("idle", "until", "termed"):
            expect(cluster.workers[name].wait(60) == 0, f"{name} ended with {cluster.workers[name].returncode}: "
                                                        f"{cluster.said(name)}")
        # Longer than several heartbeats, by which a running shard is seen.
        cluster.submit(spec(rows=2048, path_samples=16, mask_probs="[0.2, 0.5, 0.8]"))
        wait_until(lambda: cluster.ask("worker", "list")["workers"] and any(
            worker["running"] for worker in cluster.ask("worker", "list")["workers"]), 60, "a shard runs")
        cluster.workers["twice"].terminate()
        cluster.workers["twice"].terminate()
        expect(cluster.workers["twice"].wait(60) in (0, 1), f"twice ended with {cluster.workers['twice'].returncode}")


def tables_and_files(headcount):
    """submit --wait, results, export, query, plan --shards; with the coordinator and from its database alone."""
    with Cluster(headcount) as cluster:
        cluster.start_coordinator()
        cluster.start_worker("w0")
        path = f"{cluster.state}/spec.toml"
        with open(path, "w") as file:
            file.write(spec(rows=16))
        waited = cluster.run("submit", path, "--wait", "--format", "json", timeout=300)
        table = json.loads(waited.stdout)
        expect([stage["name"] for stage in table["stages"]] == ["importance", "default_rule", "pruning"],
               "submit --wait has no tables")
        client = cluster.key_path("alice")
        cluster.run("key", "create", "client", "alice", "-o", client)
        away = [headcount, "results", "last", "--key", client, "--format", "json"]
        over_the_wire = subprocess.run(away, capture_output=True, text=True, timeout=60)
        expect(over_the_wire.stdout == waited.stdout, f"over the wire: {over_the_wire.stderr}")
        refused = subprocess.run([headcount, "coordinator", "stop", "--key", client], capture_output=True, text=True,
                                 timeout=60)
        expect(refused.returncode == 1 and "admin" in refused.stderr, f"a client may stop it: {refused}")
        planned = cluster.ask("plan", path)
        expect([stage["to_run"] for stage in planned["stages"]] == [0, 0, 0], f"plan: {planned}")
        cluster.run("plan", path, "--shards", f"{cluster.state}/shards.bin")
        expect(os.path.getsize(f"{cluster.state}/shards.bin") > 100, "plan --shards wrote nothing")
        cluster.run("coordinator", "stop")
        expect(cluster.coordinator.wait(30) == 0, "the coordinator did not end well")

        expect(cluster.results() == waited.stdout, "from the database alone the bytes differ")
        expect(cluster.status()["state"] == "finished", "status from the database alone")
        expect(cluster.ask("sweep", "list")["sweeps"][0]["done"] > 0, "list from the database alone")
        for form in ("text", "markdown", "latex", "csv"):
            expect(cluster.run("results", "last", "--stage", "importance", "--format", form).stdout, f"no {form}")
        for form in ("pt", "safetensors", "npy", "csv"):
            file = f"{cluster.state}/heads.{form}"
            cluster.run("export", "last", "--stage", "importance", "--format", form, "-o", file)
            expect(os.path.getsize(file) > 100, f"export wrote no {form}")
        best = cluster.query("SELECT layer, head, value FROM head_importance WHERE stage = 'importance' AND mask_prob IS NULL "
                             "ORDER BY value DESC")
        expect(len(best) == 32, f"query gives {len(best)} rows")
        for bad in ("DELETE FROM result", "ATTACH 'x' AS y", "nonsense"):
            expect(cluster.run("query", bad, check=False).returncode == 2, f"query takes {bad}")
        older_tables(cluster)
        doctor = cluster.ask("doctor")
        expect(doctor["ok"], f"doctor: {doctor}")


def older_tables(cluster):
    """A table stored before tables knew their numerics version is read, and every format says that it is older."""
    database = sqlite3.connect(f"{cluster.state}/headcount.sqlite")
    database.create_function("sha256", 1, lambda data: hashlib.sha256(data).digest())
    with database:
        database.execute("UPDATE stage_table SET data = CAST(x'87' || substr(data, 2, length(data) - 2) AS BLOB)")
        database.execute("UPDATE stage_table SET hash = sha256(data)")
    database.close()
    said = "computed by an older version of head_importance"
    for form in ("text", "markdown", "latex", "json"):
        shown = cluster.run("results", "last", "--format", form)
        expect(said.replace("_", "\\_" if form == "latex" else "_") in shown.stdout, f"{form} does not say: {said}")
    for shown in (cluster.run("results", "last", "--format", "csv"),
                  cluster.run("export", "last", "--stage", "importance", "--format", "csv", "-o", f"{cluster.state}/old.csv")):
        expect(said in shown.stderr and said not in shown.stdout, f"csv says {shown.stderr}")


def keys_for_other_machines(headcount):
    """A coordinator on all interfaces names its machine in the keys it makes: 0.0.0.0 is no address elsewhere."""
    with Cluster(headcount) as cluster:
        cluster.start_coordinator("--listen", "tcp://0.0.0.0:0")
        with open(cluster.make_key("node1")) as file:
            key = file.read()
        expect(f"tcp://{socket.gethostname()}:" in key, f"the key says {key}")
        cluster.run("coordinator", "stop")


def large_models(headcount):
    """submit says what is read while it waits."""
    d, vocab = 4096, 2_000_000
    with Cluster(headcount) as cluster, tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/large")
        with open(f"{folder}/large/model.bin", "wb") as model:  # a llama2.c model of 33 GB of zeros, none of them on the disk
            model.write(struct.pack("<7i", d, 4, 1, 1, 1, vocab, 2))
            model.truncate(28 + 4 * (vocab * d + 2 * d + 4 * d * d + 3 * 4 * d + d + 2 * d))
        with open(f"{folder}/large.toml", "w") as file:
            file.write('name = "large"\nseed = 1\n[models.m]\npath = "large"\n[datasets.d]\ntask = "addition"\nrows = 4\n'
                       '[[stage]]\nname = "s"\nkind = "head_importance"\n')
        cluster.start_coordinator()
        submit = cluster.spawn("submit", ["submit", f"{folder}/large.toml", "--root", folder, "--state", cluster.state])
        wait_until(lambda: submit.poll() is not None or " of 33.0 GB" in cluster.said("submit"), 60, "submit says what is read")
        expect(submit.poll() is None, f"submit ended: {cluster.said('submit')}")
        submit.kill()
        submit.wait()
        cluster.run("coordinator", "stop")


CASES = (orders, large_models, ends_of_workers, tables_and_files, keys_for_other_machines)


if __name__ == "__main__":
    sys.exit(run_cases(CASES, __doc__))
