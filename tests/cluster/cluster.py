"""A Headcount cluster of real programs on loopback, for tests: start, kill, restart, ask.

Every daemon's output goes to a file in the state directory; when a test fails, the folder is kept and named.
"""
import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time


class Failure(Exception):
    """A law is broken, or a program did what it should not."""


def expect(condition, sentence):
    if not condition:
        raise Failure(sentence)


def children(pid):
    """Pids of the direct children of `pid`."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError):
            with open(f"/proc/{entry}/stat") as stat:
                parent = int(stat.read().rsplit(")", 1)[1].split()[1])
            if parent == pid:
                found.append(int(entry))
    return found


def wait_until(condition, seconds, what):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.05)
    raise Failure(f"{what}: not within {seconds} s")


class Cluster:
    """A state directory, its coordinator and workers. Use as a context manager."""

    def __init__(self, headcount, root="."):
        self.headcount = headcount
        self.root = os.path.abspath(root)
        self.state = tempfile.mkdtemp(prefix="headcount-test-")
        self.coordinator = None
        self.workers = {}  # name -> Popen
        self.failed = False

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        for process in [*self.workers.values(), self.coordinator]:
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
        if kind is None:
            shutil.rmtree(self.state, ignore_errors=True)
        else:
            print(f"the state directory is kept: {self.state}", file=sys.stderr)

    def run(self, *arguments, check=True, timeout=120):
        """A command to its end: its CompletedProcess."""
        done = subprocess.run([self.headcount, *arguments, "--state", self.state], capture_output=True, text=True,
                              timeout=timeout)
        if check:
            expect(done.returncode == 0, f"headcount {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
        return done

    def ask(self, *arguments, timeout=120):
        """A command's --format json."""
        return json.loads(self.run(*arguments, "--format", "json", timeout=timeout).stdout)

    def query(self, sql):
        return self.ask("query", sql)["rows"]

    def spawn(self, name, arguments, under=()):
        """`under`: a program and its arguments that starts ours, such as prlimit."""
        log = open(os.path.join(self.state, name + ".out"), "a")
        process = subprocess.Popen([*under, self.headcount, *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                   start_new_session=True)
        log.close()
        return process

    def said(self, name):
        with open(os.path.join(self.state, name + ".out")) as log:
            return log.read()

    def ready(self):
        """The pid in coordinator.json is the coordinator's: it answers."""
        with contextlib.suppress(OSError, ValueError):
            with open(os.path.join(self.state, "coordinator.json")) as file:
                return json.load(file)["pid"] == self.coordinator.pid
        return False

    def start_coordinator(self, *flags, under=()):
        self.coordinator = self.spawn("coordinator", ["coordinator", "start", "--state", self.state, "--root", self.root,
                                                      *flags], under)

        def up():
            expect(self.coordinator.poll() is None, f"the coordinator ended: {self.said('coordinator')}")
            return self.ready()
        wait_until(up, 60, "the coordinator is ready")

    def key_path(self, name):
        return os.path.join(self.state, name + ".key")

    def make_key(self, name, role="worker"):
        self.run("key", "create", role, name, "-o", self.key_path(name))
        return self.key_path(name)

    def start_worker(self, name, *flags):
        if not os.path.exists(self.key_path(name)):
            self.make_key(name)
        self.workers[name] = self.spawn(name, ["worker", "start", "--state", self.state, "--key", self.key_path(name),
                                               "--device", "cpu", "--runners", "1", *flags])

    def submit(self, spec):
        path = os.path.join(self.state, "spec.toml")
        with open(path, "w") as file:
            file.write(spec)
        return self.ask("submit", path)

    def status(self, sweep="last"):
        return self.ask("sweep", "status", str(sweep))

    def wait_finished(self, seconds=300, sweep="last"):
        def finished():
            state = self.status(sweep)["state"]
            expect(state in ("running", "finished"), f"the sweep is {state}")
            return state == "finished"
        wait_until(finished, seconds, "the sweep is finished")

    def results(self, sweep="last"):
        return self.run("results", str(sweep), "--format", "json").stdout

    def kill(self, process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process if isinstance(process, int) else process.pid, signal.SIGKILL)
        if not isinstance(process, int):
            process.wait()


def run_cases(cases, about):
    """A test program's main: each case with the path of --headcount, or the one named by --only. Its exit status."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--headcount", required=True)
    parser.add_argument("--only", help="one case by name", choices=[case.__name__ for case in cases])
    options = parser.parse_args()
    broken = 0
    for case in cases:
        if options.only and case.__name__ != options.only:
            continue
        try:
            case(options.headcount)
            print(f"ok      {case.__name__}", flush=True)
        except (Failure, OSError, subprocess.TimeoutExpired) as failure:
            broken += 1
            print(f"FAILED  {case.__name__}: {failure!r}", flush=True)
    return 1 if broken else 0
