#!/usr/bin/env python3
"""How soon the first shard is lent: after a restart with a million rows x points unfinished, and beside a sweep of a million rows.

Real daemons on loopback, a runner on the CPU, the built-in addition model with numerics "any" (so that all is planned before a
worker is there). The state directory is temporary. One JSON object on stdout, progress on stderr.

  restarted  1,000 rows x 1,000 points are planned, the coordinator is killed, it and a worker are started at the same moment:
             seconds from there to the first grant (the worker's own start included), and to the worker being welcome.
  beside     a sweep of --rows rows is submitted, and half a second later one of 16 rows: seconds from its submission to its first
             grant, while the large one is read and planned.
"""
import argparse
import contextlib
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

MODEL = '[models.m]\npath = "builtin:addition"\nnumerics = "any"\n'


def sweep(name, task, points, masks=True):
    """One stage of head_importance over `points` values of its tolerance."""
    masked = "mask_probs = [0.5]\nmask_samples = 1\n" if masks else ""  # else the rows bring their own labels
    tolerances = [round(0.02 + 1e-5 * i, 6) for i in range(points)]
    return (f'name = "{name}"\nseed = 1\n{MODEL}[datasets.d]\n{task}\n[[stage]]\nname = "s"\nkind = "head_importance"\n'
            f"{masked}tol = {tolerances if points > 1 else tolerances[0]}\n")


class Cluster:
    def __init__(self, build, folder):
        self.program, self.state, self.daemons = str(build / "headcount"), str(folder / "state"), {}

    def ask(self, *arguments):
        """A command's JSON; None where it fails."""
        done = subprocess.run([self.program, *arguments, "--state", self.state, "--format", "json"], capture_output=True, text=True)
        return json.loads(done.stdout) if done.returncode == 0 and done.stdout.strip() else None

    def start(self, name, *arguments):
        log = open(pathlib.Path(self.state).parent / f"{name}.out", "a")
        self.daemons[name] = subprocess.Popen([self.program, *arguments, "--state", self.state], stdout=log, stderr=log)

    def coordinator(self):
        self.start("coordinator", "coordinator", "start", "--listen", "tcp://127.0.0.1:0")

    def worker(self):
        key = pathlib.Path(self.state).parent / "worker.key"
        if not key.exists():
            subprocess.run([self.program, "key", "create", "worker", "w", "-o", key, "--state", self.state], check=True,
                           stdout=subprocess.DEVNULL)
        self.start("worker", "worker", "start", "--key", str(key), "--device", "cpu", "--runners", "1")

    def end(self, name, how=signal.SIGKILL):
        daemon = self.daemons.pop(name)
        daemon.send_signal(how)
        daemon.wait()

    def submit(self, spec):
        return str(self.ask("submit", str(spec))["id"])

    def first_grant(self, sweep_id, since, patience=600):
        """Seconds from `since` to the sweep's first grant, by the coordinator's own clock."""
        while time.monotonic() < since + patience:
            asked = time.monotonic()
            status = self.ask("sweep", "status", sweep_id)
            if status and "busy_s" in status:
                return asked - status["busy_s"] - since
            time.sleep(0.02)
        raise SystemExit(f"sweep {sweep_id}: no shard was lent within {patience} s")

    def wait_for(self, what, condition, patience=1200):
        end = time.monotonic() + patience
        while time.monotonic() < end:
            with contextlib.suppress(TypeError, KeyError, IndexError):
                if condition():
                    return time.monotonic()
            time.sleep(0.05)
        raise SystemExit(f"{what}: not within {patience} s")


def restarted(cluster, folder, points):
    spec = folder / "points.toml"
    spec.write_text(sweep("points", 'task = "addition"\nsplit = "train"\nrows = 1000', points))
    cluster.coordinator()
    cluster.wait_for("the coordinator", lambda: cluster.ask("coordinator", "info"))
    sweep_id = cluster.submit(spec)
    stage = lambda: cluster.ask("sweep", "status", sweep_id)["stages"][0]
    cluster.wait_for("planning", lambda: stage()["state"] == "open" and stage()["planned"] == stage()["shards"])
    shards = stage()["shards"]
    print(f"{shards} shards are planned", file=sys.stderr)
    cluster.end("coordinator")
    begin = time.monotonic()
    cluster.coordinator()
    cluster.worker()
    first = cluster.first_grant(sweep_id, begin)
    cluster.ask("sweep", "cancel", sweep_id)
    return {"points": points, "rows": 1000, "shards": shards, "first_grant_s": first}


def beside(cluster, folder, rows):
    text = folder / "rows.jsonl"
    with open(text, "w") as file:
        for row in range(rows):
            ids = [2 + (row // 8 ** i) % 8 for i in range(8)]
            file.write(json.dumps({"ids": ids, "labels": [-100] * 4 + ids[4:]}) + "\n")
    large, small = folder / "large.toml", folder / "small.toml"
    large.write_text(sweep("large", f'task = "tokens"\npath = "{text}"\nrows = {rows}', 1, masks=False))
    small.write_text(sweep("small", 'task = "addition"\nsplit = "test"\nrows = 16', 1))
    submitting = subprocess.Popen([cluster.program, "submit", large, "--state", cluster.state], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True)
    time.sleep(0.5)
    begin = time.monotonic()
    small_id = cluster.submit(small)
    answered = time.monotonic() - begin
    first = cluster.first_grant(small_id, begin)
    output, errors = submitting.communicate()
    large_read = time.monotonic() - begin + 0.5
    if submitting.returncode != 0:
        raise SystemExit(f"the large sweep was refused: {errors}")
    return {"rows": rows, "small_submit_answered_s": answered, "small_first_grant_s": first, "large_submit_answered_within_s": large_read}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/release", type=pathlib.Path, help="where headcount and headcount-runner are")
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="headcount-restart-"))
    cluster = Cluster(options.build.resolve(), folder)
    try:
        answer = {"restarted": restarted(cluster, folder, options.points)}
        print(json.dumps(answer), file=sys.stderr)
        answer["beside"] = beside(cluster, folder, options.rows)
        print(json.dumps(answer))
    finally:
        for name in list(cluster.daemons):
            cluster.end(name)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
