"""What strangers on the port, and holders of a key, can do to a cluster of real programs: nothing that others feel."""
import json
import os
import signal
import socket
import sys
import time

from cluster import Cluster, expect, run_cases, wait_until


def loopback(address):
    host, port = address.removeprefix("tcp://").rsplit(":", 1)
    return host, int(port)


def address_of(cluster):
    with open(os.path.join(cluster.state, "coordinator.json")) as file:
        return json.load(file)["address"]


def log_of(cluster):
    with open(os.path.join(cluster.state, "coordinator.log")) as log:
        return log.read()


def worker_log(cluster, name):
    path = os.path.join(cluster.state, "workers", name, "worker.log")
    if not os.path.exists(path):
        return ""
    with open(path) as log:
        return log.read()


def connected(cluster):
    return {worker["name"] for worker in cluster.ask("worker", "list")["workers"] if worker["state"] == "connected"}


def idle_connections_at_the_file_limit(headcount):
    """160 connections that never say anything, under a limit of 128 files, and a key made meanwhile."""
    with Cluster(headcount) as cluster:
        # Both limits, so that raising the soft one does not help.
        cluster.start_coordinator(under=["prlimit", "--nofile=128:128"])
        for name in ("w0", "w1"):
            cluster.start_worker(name, "--noop-only")
        wait_until(lambda: connected(cluster) == {"w0", "w1"}, 60, "both workers are connected")
        end = time.monotonic() + 12
        idle = []
        for i in range(160):
            idle.append(socket.create_connection(loopback(address_of(cluster))))
            if i == 120:
                cluster.make_key("w2")
        while time.monotonic() < end:
            # Those shut are opened again, so that it stays full.
            for i, one in enumerate(idle):
                one.setblocking(False)
                try:
                    gone = one.recv(100, socket.MSG_PEEK) == b""
                except BlockingIOError:
                    gone = False
                except OSError:
                    gone = True
                if gone:
                    one.close()
                    idle[i] = socket.create_connection(loopback(address_of(cluster)))
            time.sleep(0.2)
        for name, worker in cluster.workers.items():
            expect(worker.poll() is None, f"{name} ended: {cluster.said(name)}")
        expect("revoked" not in log_of(cluster), f"a key counts as revoked: {log_of(cluster)}")
        expect("too many files" in log_of(cluster), f"the log does not say why newcomers are shut: {log_of(cluster)}")
        for one in idle:
            one.close()
        wait_until(lambda: connected(cluster) == {"w0", "w1"}, 60, "the admin is answered, both workers are connected")
        expect(cluster.ask("coordinator", "info")["shut_out"] > 0, "info does not count newcomers shut out")
        cluster.start_worker("w2", "--noop-only")
        wait_until(lambda: connected(cluster) == {"w0", "w1", "w2"}, 60, "the worker of the new key is connected")
        said = log_of(cluster)
        expect(said.count("worker w0 says hello") == 1, f"w0 was not connected all the while: {said}")


def answer_with(address, rubbish):
    """Something that answers at that address with bytes of no coordinator, three times."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(loopback(address))
        listener.listen()
        listener.settimeout(60)
        for _ in range(3):
            peer, _ = listener.accept()
            with peer:
                peer.sendall(rubbish)
                time.sleep(0.3)


def strangers_at_the_coordinators_port(headcount):
    """A worker that was welcomed outlives whatever answers in the coordinator's place, and goes on with the true one."""
    with Cluster(headcount) as cluster:
        cluster.start_coordinator()
        cluster.start_worker("w0", "--noop-only")
        wait_until(lambda: connected(cluster) == {"w0"}, 60, "the worker is connected")
        address = address_of(cluster)
        cluster.coordinator.send_signal(signal.SIGTERM)
        cluster.coordinator.wait()
        signature = b"\xff\0\0\0\0\0\0\0\1\x7f\3\0"
        answer_with(address, b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"\n" * 100)
        answer_with(address, (signature + b"NULL").ljust(64, b"\0"))
        answer_with(address, (signature + b"CURVE").ljust(64, b"\0") + b"\4\5\5ERROR\3400")
        expect(cluster.workers["w0"].poll() is None, f"the worker ended: {cluster.said('w0')}")
        said = worker_log(cluster, "w0")
        expect("tries again" in said, f"the worker's log does not say what answers: {said}")
        expect(said.count("tries again") <= 3, f"it says so more than once: {said}")
        cluster.start_coordinator()
        wait_until(lambda: connected(cluster) == {"w0"}, 60, "the worker is connected again")
        cluster.run("key", "revoke", "w0")
        expect(cluster.workers["w0"].wait(60) == 1, "a worker whose key is revoked goes on")


CASES = (idle_connections_at_the_file_limit, strangers_at_the_coordinators_port)


if __name__ == "__main__":
    sys.exit(run_cases(CASES, __doc__))
