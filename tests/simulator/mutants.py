#!/usr/bin/env python3
"""Plants bugs, one at a time, and says which seed of the simulator finds each first.

    tests/simulator/mutants.py [--seeds 2000] [--build build/mutants] [--list] [NAME...]

Each bug is a few words of production code replaced in a copy of the sources (under --build), where
headcount-simulate is built and run. Prints the table of docs/testing.md; exit 1 where a bug of
scheduler or agent is not found, 2 where the code no longer has the words to replace (then name
their successor here).
"""
import argparse
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = ["CMakeLists.txt", "CMakePresets.json", "cmake", "bench", "cli", "cluster", "coordinator", "experiments",
           "models", "schemas", "store", "tests", "worker", "docs", "scripts"]

SCHEDULER = "coordinator/scheduler/"
AGENT = "worker/agent/agent.cc"

# (name, file, old, new)
MUTANTS = [
    ("a silent worker is never given up", SCHEDULER + "scheduler.cc",
     "if (now_ - worker.heard_at > patience) silent.push_back(key);",
     "if (now_ - worker.heard_at > 1000 * patience) silent.push_back(key);"),
    ("leases never expire", SCHEDULER + "leases.cc",
     "if (now_ - alive_at <= lease_ms(lease)) continue;", "if (now_ >= alive_at) continue;"),
    ("a paused stage is granted", SCHEDULER + "grants.cc",
     "if (stage->paused) continue;", "if (stage->paused && stage->id == 0) continue;"),
    ("a worker forgets its unacknowledged results when it restarts", AGENT,
     "for (ShardDone& done : unacknowledged) {", "unacknowledged.clear();\n  for (ShardDone& done : unacknowledged) {"),
    ("losses are charged to what waits behind a poison shard", SCHEDULER + "leases.cc",
     "if (running.contains(key)) {", "if (running.contains(key) || !running.empty()) {"),
    ("a suspended coordinator blames its workers", SCHEDULER + "scheduler.cc",
     "if (leapt) rearm();", "if (leapt && now < 0) rearm();"),
    ("invalid results are recorded", SCHEDULER + "messages.cc",
     "if (!event.defect.empty()) {", "if (event.defect.size() > 1000) {"),
    ("an older daemon of the same key takes over", SCHEDULER + "messages.cc",
     "if (worker.connected && message.incarnation < worker.incarnation) {",
     "if (worker.connected && message.incarnation == 0) {"),
    ("credit is always 256", SCHEDULER + "grants.cc",
     "const int64_t cost = kRunner / credit(range);", "const int64_t cost = kRunner / 256;"),
    ("a result counts under any tag", SCHEDULER + "messages.cc",
     "if (lent && found->second.tag == tag) {", "if (lent) {"),
    ("leases are forgotten at a restart (store)", "store/results.cc",
     "WHERE a.outcome = 'granted'", "WHERE a.outcome = 'forgotten'"),
    ("a later result replaces the first (store)", "store/results.cc",
     "if (hash == row.hash) return Recorded::kSame;",
     'if (hash == row.hash) return Recorded::kSame;\n'
     'impl_->writing("UPDATE result SET hash = ? WHERE shard = ? AND tag = ?")->bind_blob(as_bytes(row.hash))'
     '.bind(shard).bind(tag).run();'),
    ("a cancelled sweep goes on being granted", SCHEDULER + "scheduler.cc",
     "StageState* stage = find_stage(event.stage);\n  if (stage == nullptr) return;\n  for (auto& [worker_key, worker] : workers_) {\n    const std::vector<ShardKey> held",
     "StageState* stage = find_stage(event.stage);\n  if (stage == nullptr || stage->id > 0) return;\n  for (auto& [worker_key, worker] : workers_) {\n    const std::vector<ShardKey> held"),
    ("three charges on one worker are enough", SCHEDULER + "leases.cc",
     "(count.workers.size() >= 2 || !another ||", "(count.workers.size() >= 1 || !another ||"),
    ("a second hash raises no alarm", SCHEDULER + "messages.cc",
     "if (!recorded || *recorded != message.hash) {", "if (!recorded) {"),
    ("a late GiveBack ends the newer lease", SCHEDULER + "messages.cc",
     "if (found == leases_.end() || found->second.worker != event.worker ||\n        found->second.attempt != attempt) {",
     "if (found == leases_.end() || found->second.worker != event.worker) {"),
    ("a draining worker is granted all the same", SCHEDULER + "machine.h",
     "return connected && !draining && !drain_ordered && problem.empty();",
     "return connected && problem.empty();"),
    ("cancel revokes nothing at the workers", SCHEDULER + "scheduler.cc",
     'revoke(key, end(key, Outcome::kRevoked, "its stage was closed"));',
     'end(key, Outcome::kRevoked, "its stage was closed");'),
    ("a worker drops a result once it was sent", AGENT,
     "if (welcomed_) send_done(work);", "if (welcomed_) {\n    send_done(work);\n    drop(key);\n  }"),
    ("progress of one runner renews every running lease of its worker", SCHEDULER + "leases.cc",
     "lease.state == HeldState::kQueued\n                                ?", "lease.state != HeldState::kDone\n                                ?"),
    ("the sweep served most is served next", SCHEDULER + "shares.cc",
     "sweep.served_s += seconds;", "sweep.served_s -= seconds;"),
]


def copy_sources(to):
    """Only what changed is written, so that only that is built again."""
    for top in SOURCES:
        if not (ROOT / top).exists():
            continue
        for path in [ROOT / top] if (ROOT / top).is_file() else sorted((ROOT / top).rglob("*")):
            if path.is_dir() or path.is_symlink():
                continue
            target = to / path.relative_to(ROOT)
            if target.exists() and target.read_bytes() == path.read_bytes():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)


def first_failure(tree, build, seeds):
    """The first seed that breaks a law and what it says; None: none does."""
    subprocess.run(["cmake", "--build", build, "--target", "headcount-simulate"], check=True,
                   stdout=subprocess.DEVNULL)
    run = subprocess.run([build / "headcount-simulate", "--seeds", str(seeds), "--first-failure"],
                         capture_output=True, text=True, timeout=1800, cwd=tree)
    found = re.search(r"^seed (\d+): (.*)$", run.stdout, re.MULTILINE)
    if run.returncode == 0:
        return None
    if not found:
        sys.exit(f"headcount-simulate says neither seed nor success:\n{run.stdout}{run.stderr}")
    return int(found[1]), found[2]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="words of the bugs to plant; none: all")
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/mutants")
    parser.add_argument("--list", action="store_true", help="only check that each can be planted")
    args = parser.parse_args()

    chosen = [m for m in MUTANTS if not args.names or any(n in m[0] for n in args.names)]
    stale = [name for name, file, old, _ in chosen if (ROOT / file).read_text().count(old) != 1]
    for name in stale:
        print(f"cannot be planted: {name}: its words are not in the code, or there twice", file=sys.stderr)
    if stale or args.list:
        return 2 if stale else 0

    # As preset release, in the same place of the tree: what ccache knows is not compiled again.
    tree, build = args.build, args.build / "build/release"
    copy_sources(tree)
    subprocess.run(["cmake", "--preset", "release", "-DHEADCOUNT_RUNNER=OFF"], cwd=tree, check=True,
                   stdout=subprocess.DEVNULL)
    n_missed = 0
    print("| planted bug | first seed | the law it breaks |\n|---|---|---|")
    for name, file, old, new in chosen:
        text = (tree / file).read_text()
        (tree / file).write_text(text.replace(old, new))
        try:
            found = first_failure(tree, build, args.seeds)
        finally:
            (tree / file).write_text(text)
        n_missed += found is None
        seed, law = found if found else ("none", "")
        print(f"| {name} | {seed} | {law} |", flush=True)
    return 1 if n_missed else 0


if __name__ == "__main__":
    sys.exit(main())
