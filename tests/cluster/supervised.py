"""Daemons as a supervisor sees them: a worker whose disk is full waits, says so, and goes on when there is room; exit
statuses say whether another start is worth it (75) or not; systemd is told how it goes; what a worker keeps is for its
user alone. The units of cluster/systemd are verified where systemd-analyze is there."""
import contextlib
import errno
import hashlib
import os
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading

from cluster import Cluster, children, expect, run_cases, wait_until
from identity import LONG, check_books, recorded

UNITS = os.path.join(os.path.dirname(__file__), "../../cluster/systemd")


@contextlib.contextmanager
def small_disk(folder, size="8m"):
    """A file system of that size at `folder`."""
    os.makedirs(folder, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "none", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@contextlib.contextmanager
def kept_full(folder):
    """Whatever room there is in `folder` is taken, again and again."""
    ended, full = threading.Event(), threading.Event()
    path = os.path.join(folder, "filler")

    def fill():
        with open(path, "ab", buffering=0) as file:
            while not ended.wait(0.005):
                try:
                    while True:
                        file.write(b"x" * 4096)
                except OSError as error:
                    expect(error.errno == errno.ENOSPC, str(error))
                    full.set()
    thread = threading.Thread(target=fill)
    thread.start()
    try:
        expect(full.wait(60), f"{folder} cannot be filled")
        yield
    finally:
        ended.set()
        thread.join()
        os.remove(path)


def listed(cluster, name):
    return next((worker for worker in cluster.ask("worker", "list")["workers"] if worker["name"] == name), {})


def waits_for_room(headcount):
    with Cluster(headcount) as cluster:
        folder = os.path.join(cluster.state, "workers", "w0")
        with small_disk(folder):
            cluster.start_coordinator()
            cluster.start_worker("w0")
            cluster.submit(LONG)
            wait_until(lambda: len(recorded(cluster)) > 10, 60, "ten results")
            runners = children(cluster.workers["w0"].pid)
            with kept_full(folder):
                said = wait_until(lambda: listed(cluster, "w0").get("problem"), 60, "the worker says that its disk is full")
                expect("No space left on device" in said, said)
                expect(listed(cluster, "w0")["state"] == "waiting", str(listed(cluster, "w0")))
                why = cluster.run("sweep", "explain", "last").stdout
                expect("No space left on device" in why, f"explain does not say it: {why}")
                expect("w0 waits: cannot write" in cluster.run("worker", "list").stdout, "worker list does not say it")
                expect("w0 on" in cluster.run("doctor", check=False).stdout, "doctor does not say it")
                wait_until(lambda: listed(cluster, "w0")["held"] == 0, 60, "what ran is finished")
                expect(cluster.workers["w0"].poll() is None, f"the worker ended: {cluster.said('w0')}")
                kept = len(recorded(cluster))
            cluster.wait_finished()
            expect(len(recorded(cluster)) > kept, "nothing was left to do: too late to see it wait")
            expect(children(cluster.workers["w0"].pid) == runners, "its runner was started again")
            check_books(cluster)
            worse = cluster.query("SELECT count(*) FROM attempts WHERE outcome NOT IN ('done', 'given back')")[0][0]
            expect(worse == 0, f"{worse} attempts were lost")
            stop(cluster.workers["w0"])
        print("a worker whose disk is full waits, and goes on by itself")


def stop(process, seconds=60):
    process.send_signal(signal.SIGTERM)
    process.wait(seconds)
    expect(process.returncode == 0, f"a drained daemon ended with {process.returncode}")


def statuses(headcount):
    with Cluster(headcount) as cluster:
        cluster.start_coordinator()
        cluster.make_key("w0")
        arguments = ["worker", "start", "--key", cluster.key_path("w0"), "--noop-only"]
        folder = os.path.join(cluster.state, "workers", "w0")
        with small_disk(folder), kept_full(folder):
            ended = cluster.run(*arguments, check=False)
            expect(ended.returncode == 75, f"on a full disk it ended with {ended.returncode}: {ended.stderr}")
        first = cluster.spawn("w0", [*arguments, "--state", cluster.state])
        cluster.workers["w0"] = first
        wait_until(lambda: listed(cluster, "w0").get("state") == "connected", 60, "it is connected")
        ended = cluster.run(*arguments, check=False)
        expect(ended.returncode == 1 and "already runs" in ended.stderr, f"a second daemon: {ended}")
        for path in [folder, *[os.path.join(at, name) for at, _, names in os.walk(folder) for name in names]]:
            expect(stat.S_IMODE(os.stat(path).st_mode) & 0o077 == 0, f"{path} is open to others")
        stop(first)
        again = subprocess.run([headcount, "coordinator", "start", "--state", cluster.state], capture_output=True, text=True,
                               timeout=60)
        expect(again.returncode == 1, f"a second coordinator ended with {again.returncode}: {again.stderr}")
        print("exit statuses: 0 drained, 75 a full disk, 1 what another start does not mend")


def foreign_journal(headcount):
    with Cluster(headcount) as cluster:
        cluster.start_coordinator()
        cluster.make_key("w0")
        folder = os.path.join(cluster.state, "workers", "w0", "results")
        os.makedirs(folder)
        later = bytes([3, 0, 0, 0, 0x82, 3, 0x80])  # a message of protocol version 3, as the first journals held them
        record = b"R" + struct.pack("<I", len(later)) + later + hashlib.sha256(later).digest()[:8]
        with open(os.path.join(folder, "journal"), "wb") as journal:
            journal.write(record)
        cluster.workers["w0"] = cluster.spawn("w0", ["worker", "start", "--state", cluster.state, "--noop-only", "--key",
                                                     cluster.key_path("w0")])

        def connected():
            expect(cluster.workers["w0"].poll() is None, f"the worker ended: {cluster.said('w0')}")
            return listed(cluster, "w0").get("state") == "connected"
        wait_until(connected, 60, "it is connected")
        with open(os.path.join(folder, "journal.unreadable-1"), "rb") as aside:
            expect(aside.read() == record, "what it could not read was not set aside as it was")
        expect("journal.unreadable-1" in cluster.said("w0"), "it does not say so")
        stop(cluster.workers["w0"])
        print("a journal of another version is set aside, and the worker starts")


def tells_systemd(headcount):
    with Cluster(headcount) as cluster:
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        manager.bind(os.path.join(cluster.state, "notify"))
        manager.settimeout(60)
        os.environ.update(NOTIFY_SOCKET=os.path.join(cluster.state, "notify"), WATCHDOG_USEC="2000000")

        def hear(*wanted):
            missing = list(wanted)
            while missing:
                line = manager.recv(4096).decode()
                missing = [sentence for sentence in missing if not line.startswith(sentence)]

        try:
            cluster.start_coordinator()
            hear("READY=1", "STATUS=listens on tcp://", "WATCHDOG=1")
            coordinator, cluster.coordinator = cluster.coordinator, None
            cluster.make_key("w0")
            stop(coordinator)
            hear("STOPPING=1")
            cluster.start_worker("w0", "--noop-only")
            hear("READY=1", "STATUS=waits for the coordinator at tcp://", "WATCHDOG=1")
            cluster.start_coordinator()
            hear("STATUS=waits for work")
            stop(cluster.workers["w0"])
            hear("STOPPING=1")
        finally:
            for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC"):
                os.environ.pop(name)
        print("systemd hears when a daemon is ready, what it does, that it lives and that it stops")


def units(headcount):
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for name in sorted(os.listdir(UNITS)):
            if not name.endswith(".service"):
                continue
            with open(os.path.join(UNITS, name)) as unit:
                text = unit.read().replace("/usr/local/bin/headcount", os.path.abspath(headcount))
            files.append(os.path.join(folder, name))
            with open(files[-1], "w") as unit:
                unit.write(text)
        said = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True, timeout=60)
        expect(said.returncode == 0 and not said.stderr, f"systemd-analyze: {said.stderr}")
        print(f"{len(files)} units are as systemd wants them")


def cases():
    if os.geteuid() != 0:
        print("skipped: a small disk can be mounted by root only")
    if not shutil.which("systemd-analyze"):
        print("skipped: no systemd-analyze")
    return ([tells_systemd, foreign_journal] + ([waits_for_room, statuses] if os.geteuid() == 0 else []) +
            ([units] if shutil.which("systemd-analyze") else []))


if __name__ == "__main__":
    sys.exit(run_cases(cases(), __doc__))
