"""What the programs say to bad input: one clear sentence on stderr, a non-zero exit, and nothing recorded is lost."""
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from cluster import Cluster, expect, run_cases, wait_until


def refused(headcount, arguments, *words, status=None, timeout=60):
    """Runs to its end; checks that it failed and that one sentence on stderr holds all the words."""
    done = subprocess.run([headcount, *arguments], capture_output=True, text=True, timeout=timeout)
    what = f"headcount {' '.join(arguments)}"
    expect(done.returncode != 0, f"{what} succeeded: {done.stdout}")
    expect(done.returncode > 0, f"{what} died of signal {-done.returncode}: {done.stderr}")
    if status is not None:
        expect(done.returncode == status, f"{what} ended with {done.returncode}, not {status}: {done.stderr}")
    for word in words:
        expect(word in done.stderr, f"{what} does not say {word!r}: {done.stderr!r}")
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    expect(1 <= len(lines) <= 3, f"{what} says more than a sentence: {done.stderr!r}")
    return done.stderr


def port_in_use(headcount):
    with Cluster(headcount) as cluster, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(headcount, ["coordinator", "start", "--state", cluster.state, "--listen", f"tcp://127.0.0.1:{port}"],
                str(port), status=1)


def former_port_taken(headcount):
    """A coordinator does not move away from an address that keys name, unless it is told to."""
    with Cluster(headcount) as cluster:
        def restart_beside_another_program(*flags):
            with open(os.path.join(cluster.state, "coordinator.json")) as file:
                address = json.load(file)["address"]
            cluster.coordinator.send_signal(signal.SIGTERM)
            cluster.coordinator.wait()
            with socket.socket() as taken:
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                taken.bind(("127.0.0.1", int(address.rsplit(":", 1)[1])))
                taken.listen()
                if not flags and os.path.exists(cluster.key_path("w0")):
                    refused(headcount, ["coordinator", "start", "--state", cluster.state], address,
                            f"process {os.getpid()} (python3", "1 key file names", "--listen", status=1)
                else:
                    cluster.start_coordinator(*flags)
                    moved = cluster.ask("coordinator", "info")["address"]
                    expect(moved != address, f"it listens on {moved}, where another program does")
        cluster.start_coordinator()
        with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
            low, high = map(int, file.read().split())
        port = int(cluster.ask("coordinator", "info")["address"].rsplit(":", 1)[1])
        expect(not low <= port <= high, f"port {port} is one the kernel gives to outgoing connections")
        restart_beside_another_program()
        cluster.make_key("w0")
        restart_beside_another_program()
        cluster.start_coordinator()
        restart_beside_another_program("--listen", "tcp://127.0.0.1:0")


def two_coordinators(headcount):
    with Cluster(headcount) as cluster:
        cluster.start_coordinator()
        refused(headcount, ["coordinator", "start", "--state", cluster.state], cluster.state, status=1)
        expect(cluster.ask("coordinator", "info")["pid"] == cluster.coordinator.pid, "the first one no longer answers")


def unknown_key(headcount):
    with Cluster(headcount) as ours, Cluster(headcount) as other:
        ours.start_coordinator()
        other.start_coordinator()
        key = other.make_key("stranger")
        with open(ours.make_key("known")) as file:
            known = file.read()
        with open(key) as file:
            foreign = file.read()
        # The stranger's own pair under our coordinator's address and public key: only the allow-list can refuse it.
        mixed = ours.key_path("mixed")
        with os.fdopen(os.open(mixed, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(mix(known, foreign))
        refused(headcount, ["worker", "start", "--state", ours.state, "--key", mixed, "--noop-only"], "key",
                status=1)


def mix(known, foreign):
    """`known` with the bearer's pair of `foreign`; key files are JSON or lines of `name value`."""
    try:
        ours, theirs = json.loads(known), json.loads(foreign)
        return json.dumps({**ours, **{name: theirs[name] for name in ("public_key", "secret_key")}})
    except ValueError:
        theirs = [line for line in foreign.splitlines() if "coordinator" not in line and
                  ("public" in line or "secret" in line)]
        ours = [line for line in known.splitlines() if "coordinator" in line or
                ("public" not in line and "secret" not in line)]
        return "\n".join(ours + theirs) + "\n"


def revoked_key(headcount):
    with Cluster(headcount) as cluster:
        cluster.start_coordinator()
        cluster.start_worker("w0", "--noop-only")
        wait_until(lambda: os.path.exists(f"{cluster.state}/workers/w0/worker.json"), 30, "the worker is welcomed")
        cluster.run("key", "revoke", "w0")
        # A running worker notices, and a new start is refused.
        worker = cluster.workers["w0"]
        expect(worker.wait(60) == 1, f"the revoked worker ended with {worker.returncode}: {cluster.said('w0')}")
        expect("revoked" in cluster.said("w0") or "refuse" in cluster.said("w0"), f"it says {cluster.said('w0')!r}")
        refused(headcount, ["worker", "start", "--state", cluster.state, "--key", cluster.key_path("w0"),
                            "--noop-only"], "key", status=1)
        expect(cluster.ask("key", "list")["keys"] is not None, "key list does not answer")


def open_key_file(headcount):
    with Cluster(headcount) as cluster:
        cluster.start_coordinator()
        key = cluster.make_key("w0")
        os.chmod(key, 0o644)
        refused(headcount, ["worker", "start", "--state", cluster.state, "--key", key], key, "chmod 600", status=1)


def no_key_file(headcount):
    with Cluster(headcount) as cluster:
        refused(headcount, ["worker", "start", "--state", cluster.state, "--key", "/no/such.key"], "/no/such.key")
        path = cluster.key_path("rubbish")
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write("\x00\x01 no key at all\n" * 100)
        refused(headcount, ["worker", "start", "--state", cluster.state, "--key", path], path)


def another_version(headcount):
    """A copy of the program whose version string differs."""
    with Cluster(headcount) as cluster:
        cluster.start_coordinator()
        key = cluster.make_key("old")
        version = subprocess.run([headcount, "--version"], capture_output=True, text=True).stdout.split()[-1]
        other = os.path.join(cluster.state, "headcount-of-another-version")
        with open(headcount, "rb") as file:
            program = file.read()
        changed = version[:-1] + ("8" if version[-1] != "8" else "7")
        expect(version.encode() + b"\0" in program, "the version is not in the program")
        with open(other, "wb") as file:
            file.write(program.replace(version.encode() + b"\0", changed.encode() + b"\0"))
        os.chmod(other, 0o755)
        sentence = refused(other, ["worker", "start", "--state", cluster.state, "--key", key, "--device", "cpu",
                                   "--noop-only"], version, changed, status=1)
        expect("version" in sentence, f"it says {sentence!r}")


def rubbish_on_the_port(headcount):
    with Cluster(headcount) as cluster:
        cluster.start_coordinator()
        with open(os.path.join(cluster.state, "coordinator.json")) as file:
            port = int(json.load(file)["address"].rsplit(":", 1)[1])
        for rubbish in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 100_000, os.urandom(50_000), b""):
            with socket.create_connection(("127.0.0.1", port)) as connection, contextlib.suppress(OSError):
                connection.sendall(rubbish)
                time.sleep(0.05)
        expect(cluster.ask("coordinator", "info")["pid"] == cluster.coordinator.pid, "it no longer answers")


def unreadable_database(headcount):
    with Cluster(headcount) as cluster:
        with open(os.path.join(cluster.state, "headcount.sqlite"), "wb") as file:
            file.write(b"this is no database " * 1000)
        for arguments in (["coordinator", "start"], ["sweep", "list"], ["results", "last"], ["query", "SELECT 1"]):
            refused(headcount, [*arguments, "--state", cluster.state], "headcount.sqlite", status=1)


def read_only_state(headcount):
    folder = tempfile.mkdtemp(prefix="headcount-test-")
    try:
        if os.geteuid() == 0:  # modes do not bind root; /proc takes no folder from anybody
            state = "/proc/headcount"
        else:
            os.chmod(folder, 0o500)
            state = os.path.join(folder, "state")
        refused(headcount, ["coordinator", "start", "--state", state], state, status=1)
        refused(headcount, ["coordinator", "start", "--detach", "--state", state], state, status=1)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def nobody_there(headcount):
    with Cluster(headcount) as cluster:
        refused(headcount, ["sweep", "watch", "last", "--state", cluster.state], cluster.state, "coordinator start",
                status=1)
        refused(headcount, ["sweep", "list", "--state", cluster.state], cluster.state, status=1)
        refused(headcount, ["worker", "start", "--state", cluster.state], "--key", status=2)


def wrong_flags(headcount):
    for arguments, word in ((["sweeep", "list"], "sweeep"), (["worker", "start", "--runners", "many"], "runners"),
                            (["results"], "id"), (["check", "/no/such/spec.toml"], "/no/such/spec.toml"),
                            (["worker", "start", "--device", "gpu", "--key", "x"], "gpu"),
                            (["model", "info", "/no/such/model"], "/no/such/model"),
                            (["tokenize", "--tokenizer", "/no/such/model", "--text", "a"], "/no/such/model"),
                            (["worker", "start", "--idle-exit", "soon", "--key", "x"], "soon"), ([], "subcommand")):
        refused(headcount, arguments, word, status=2)
    done = subprocess.run([headcount, "check", "/no/such/spec.toml", "--format", "json"], capture_output=True, text=True)
    expect("/no/such/spec.toml" in json.loads(done.stdout)["error"], f"no JSON error: {done.stdout!r}")
    done = subprocess.run([headcount, "check", "--format", "json"], capture_output=True, text=True)
    expect(done.returncode == 2 and json.loads(done.stdout)["error"], f"no JSON error: {done.stdout!r}")


SPEC = """name = "probe"
[models.m]
path = "{model}"
[datasets.d]
{dataset}
[[stage]]
name = "s"
kind = "head_importance"
"""
ROWS = 'task = "tokens"\npath = "{}"'
ADDITION = 'task = "addition"\nsplit = "test"\nrows = 4'


def paths_of_a_clients_spec(headcount):
    """A client's spec reads what lies under --root and --allow-path; nobody's reads the state directory."""
    with tempfile.TemporaryDirectory() as folder, Cluster(headcount, root=f"{folder}/root") as cluster:
        for name in ("root", "shared", "elsewhere"):
            os.mkdir(f"{folder}/{name}")
            with open(f"{folder}/{name}/rows.jsonl", "w") as file:
                file.write('{"ids": [1, 2, 3, 4], "labels": [1, 2, 3, -100]}\n' * 8)
        os.symlink(f"{folder}/elsewhere/rows.jsonl", f"{folder}/root/link.jsonl")
        os.symlink(f"{folder}/elsewhere/none.jsonl", f"{folder}/root/dead.jsonl")
        cluster.start_coordinator("--allow-path", f"{folder}/shared")
        client, admin = cluster.make_key("client", "client"), cluster.make_key("second", "admin")
        local = os.path.join(cluster.state, "admin.key")
        spec = f"{folder}/spec.toml"

        def submit(key, model, dataset, *flags):
            with open(spec, "w") as file:
                file.write(SPEC.format(model=model, dataset=dataset))
            return subprocess.run([headcount, "submit", spec, "--key", key, *flags], capture_output=True, text=True,
                                  timeout=60)

        def takes(key, path, *flags):
            done = submit(key, "builtin:addition", ROWS.format(path), *flags)
            expect(done.returncode == 0, f"{path} is refused: {done.stderr}")

        def sentence(key, path, *flags, model=False):
            done = submit(key, path if model else "builtin:addition", ADDITION if model else ROWS.format(path), *flags)
            expect(done.returncode > 0, f"{path} is read: {done.stdout}")
            return done.stderr.replace(path, "PATH")

        secret = f"{cluster.state}/keys/coordinator"
        for key in (client, admin):
            takes(key, "rows.jsonl")
            takes(key, f"{folder}/shared/rows.jsonl")
            outside = {sentence(key, path) for path in (
                f"{folder}/elsewhere/rows.jsonl", f"{folder}/elsewhere/none.jsonl", secret, "/etc/shadow", "/no/such",
                f"{folder}/root/link.jsonl", f"{folder}/root/dead.jsonl", f"{folder}/root/../elsewhere/rows.jsonl")}
            expect(len(outside) == 1 and "may read" in outside.pop(), f"it tells files outside apart: {outside}")
            # The root a client names is where its paths start, not what it may read.
            expect("may read" in sentence(key, "rows.jsonl", "--root", f"{folder}/elsewhere"), "it chose its own root")
            models = {sentence(key, path, model=True) for path in (f"{folder}/elsewhere", "/no/such", cluster.state)}
            expect(len(models) == 1 and "may read" in models.pop(), f"it tells folders outside apart: {models}")
        takes(local, f"{folder}/elsewhere/rows.jsonl")
        expect("state directory" in sentence(local, secret), "the local admin reads the coordinator's key")
        expect("state directory" in sentence(local, cluster.state, model=True), "the state directory is a model")


CASES = (wrong_flags, nobody_there, port_in_use, former_port_taken, two_coordinators, unknown_key, revoked_key, open_key_file, no_key_file,
         another_version, rubbish_on_the_port, unreadable_database, read_only_state, paths_of_a_clients_spec)


if __name__ == "__main__":
    sys.exit(run_cases(CASES, __doc__))
