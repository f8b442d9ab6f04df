#!/usr/bin/env python3
"""`headcount bench dispatch` of this build against another's, in turns, so that both see the same machine: medians and their ratio.

    bench/dispatch.py --against /other/build/headcount            # 100,000 shards, three runs each
    bench/dispatch.py --against OTHER --shards 1000000 --runs 1 -o bench/results/dispatch-against.json
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys


def run(program, options):
    flags = ["--shards", str(options.shards), "--workers", str(options.workers)]
    done = subprocess.run([program, "bench", "dispatch", *flags], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/release", type=pathlib.Path, help="where this build's headcount is")
    parser.add_argument("--against", required=True, help="the other headcount program")
    parser.add_argument("--shards", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3, help="of each")
    parser.add_argument("-o", "--output", help="a file for the JSON too")
    options = parser.parse_args()
    programs = {"this": str(options.build / "headcount"), "other": options.against}
    runs = {name: [] for name in programs}
    for number in range(options.runs):
        for name, program in programs.items():
            runs[name].append(run(program, options))
            print(f"{name} {number + 1}: {runs[name][-1]['shards_per_s']:.0f} shards/s", file=sys.stderr, flush=True)
    median = {name: statistics.median(one["shards_per_s"] for one in all_runs) for name, all_runs in runs.items()}
    answer = {"shards_per_s": median, "ratio": median["this"] / median["other"], "runs": runs}
    if options.output:
        pathlib.Path(options.output).write_text(json.dumps(answer, indent=1) + "\n")
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
