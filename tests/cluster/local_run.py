"""headcount run on one machine: Ctrl-C drains and says how to go on, the same command again goes on, a third time
executes nothing; no process is left behind."""
import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from cluster import Failure, expect
from identity import LONG, recorded


class State:
    """What recorded() needs to know of a cluster."""

    def __init__(self, state):
        self.state = state


def left_behind(state):
    """Processes whose command line names the state directory."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                line = file.read().decode(errors="replace")
        except OSError:
            continue
        if state in line and entry != str(os.getpid()):
            found.append(line.replace("\0", " "))
    return found


def run(headcount, spec, state):
    return subprocess.Popen([headcount, "run", spec, "--state", state, "--workers", "2", "--runners", "1", "--device", "cpu",
                             "--format", "json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def count(state):
    try:
        return len(recorded(State(state)))
    except Exception:  # not there yet
        return 0


def interrupted_and_continued(headcount, folder):
    state, spec = os.path.join(folder, "state"), os.path.join(folder, "spec.toml")
    with open(spec, "w") as file:
        file.write(LONG)
    first = run(headcount, spec, state)
    while first.poll() is None and count(state) < 20:
        time.sleep(0.05)
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=120)
    expect(first.returncode == 1, f"the interrupted run ended with {first.returncode}: {said}")
    expect("headcount run" in said and "kept" in said, f"it does not say how to go on: {said!r}")
    expect(not left_behind(state), f"left behind: {left_behind(state)}")
    kept = count(state)
    expect(kept >= 20, f"only {kept} results were kept")

    second = run(headcount, spec, state)
    table, said = second.communicate(timeout=300)
    expect(second.returncode == 0, f"the continued run ended with {second.returncode}: {said}")
    expect("goes on" in said, f"it does not say that it goes on: {said!r}")
    total = count(state)
    expect(total > kept, "nothing was left to do")

    third = run(headcount, spec, state)
    again, said = third.communicate(timeout=120)
    expect(third.returncode == 0 and again == table, f"the third run gives other bytes: {said}")
    expect(count(state) == total, "the third run executed shards")
    print(f"interrupted at {kept} of {total} results, continued, and equal again")


def killed_leaves_nothing(headcount, folder):
    state, spec = os.path.join(folder, "killed"), os.path.join(folder, "spec.toml")
    process = run(headcount, spec, state)
    while process.poll() is None and count(state) < 5:
        time.sleep(0.05)
    process.kill()
    process.communicate()
    end = time.monotonic() + 10
    while left_behind(state) and time.monotonic() < end:
        time.sleep(0.05)
    expect(not left_behind(state), f"left behind: {left_behind(state)}")
    print("a killed run leaves no process")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--headcount", required=True)
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="headcount-test-")
    try:
        interrupted_and_continued(options.headcount, folder)
        killed_leaves_nothing(options.headcount, folder)
    except (Failure, subprocess.TimeoutExpired) as failure:
        print(f"FAILED: {failure} (kept: {folder})", file=sys.stderr)
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
