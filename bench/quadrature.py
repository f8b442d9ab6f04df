#!/usr/bin/env python3
"""How far rules of integration are from brute force on four models: the table of docs/numbers.md.

Writes a spec for each model, text, seed and path, lets `headcount plan` make its shards and `headcount-runner quadrature`
integrate each row, mask and path by every rule and by composite Gauss-Legendre without economy. Needs the shared data
(HEADCOUNT_SHARED, ../shared) for two of the models and says what it leaves out without them. Took two and a half hours on two cores with other work.

With --against, only what two builds' adaptive rules spend at tol 1e-3 is compared (minutes at --rows 16 --path-rows 2 --seeds 1).

The table goes to stdout, the numbers to --output as JSON, progress to stderr. Each case is written when it is measured: the same
command goes on from what --output holds.
"""
import argparse
import concurrent.futures
import contextlib
import json
import math
import os
import pathlib
import random
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time

MASK_PROBS = [0.15, 0.3, 0.5, 0.7, 0.9]
ADAPTIVE = ["adaptive:0.05", "adaptive:0.02", "adaptive:0.01", "adaptive:0.001"]
RULES = {
    "diagonal": ADAPTIVE + ["right:8", "trapezoid:8", "trapezoid:64", "gauss_legendre:48"],
    "stochastic_threshold": ADAPTIVE + ["right:8", "trapezoid:16"],
}
PATHS = 4  # of random thresholds, a row and mask
STORY_WINDOW = {"diagonal": 28, "stochastic_threshold": 48}  # the shorter text has 1,882 tokens
WINDOW, PROMPT = 32, 16  # tinydiff: characters of a row; it never masks the first 16


def tinydiff_rows(path, text, prob, n_rows):
    """Rows of its training text under masks of one probability, as the tokens task reads them."""
    draw = random.Random(f"tinydiff {prob}")
    with open(path, "w", encoding="utf-8") as file:
        for row in range(n_rows):
            ids = [min(ord(c), 127) for c in text[row * WINDOW:(row + 1) * WINDOW]]
            masked = [i for i in range(PROMPT, WINDOW) if draw.random() < prob] or [PROMPT]
            file.write(json.dumps({"ids": [0 if i in masked else x for i, x in enumerate(ids)],
                                   "labels": [x if i in masked else -100 for i, x in enumerate(ids)]}) + "\n")


def spec_text(model, dataset, seed, path_mode, masks, rule=()):
    lines = ['name = "quadrature"', f"seed = {seed}", "[models.m]", f'path = "{model}"', "[datasets.d]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in dataset.items()]
    lines += ["[[stage]]", 'name = "s"', 'kind = "head_importance"', f'path_mode = "{path_mode}"', f"path_samples = {PATHS}"]
    lines += [f"mask_probs = {MASK_PROBS}", "mask_samples = 1"] if masks else []
    lines += rule
    return "\n".join(lines) + "\n"


def cases(options, folder):
    """(model, case, path mode, spec file) for all there is to do, the longest first."""
    todo = []
    def add(model, case, path_mode, path, dataset, seed=1, masks=False):
        rows = options.rows if path_mode == "diagonal" else options.path_rows
        file = folder / f"{len(todo)}.toml"
        rule = ['quadrature = "adaptive"', "tol = 1e-3"] if options.against else []
        file.write_text(spec_text(path, {**dataset, "rows": rows}, seed, path_mode, masks, rule))
        todo.append((model, case, path_mode, file))
    shared = pathlib.Path(options.shared).resolve() / "data"
    tiny, stories = shared / "weights/no_licence/tinydiff_student_1M", shared / "weights/stories260K"
    for missing in [str(p) for p in (tiny, stories) if not p.exists()]:
        print(f"left out: {missing} is not there", file=sys.stderr)
    for path_mode in ("stochastic_threshold", "diagonal"):
        if tiny.exists():
            text = (shared / "lm_text/tinyshakespeare.txt").read_text(encoding="utf-8")
            for prob in MASK_PROBS:
                rows = folder / f"tinydiff-{prob}.jsonl"
                tinydiff_rows(rows, text, prob, options.rows)
                add("tinydiff", f"p = {prob}", path_mode, tiny, {"task": "tokens", "path": str(rows)})
        if stories.exists():
            for name in ("tinystories_sample", "wikitext-2_test"):
                add("stories260K", name, path_mode, stories,
                    {"task": "text", "path": str(shared / f"lm_text/{name}.txt"), "window": STORY_WINDOW[path_mode]})
        for model in ("addition", "addition-gqa"):
            for seed in range(1, (options.seeds if path_mode == "diagonal" else 1) + 1):
                add(f"builtin:{model}", f"seed {seed}", path_mode, f"builtin:{model}",
                    {"task": "addition", "split": "train"}, seed, masks=True)
    return todo


def measure(options, case):
    model, name, path_mode, spec = case
    shards = spec.with_suffix(".shards")
    build = pathlib.Path(options.build)
    subprocess.run([build / "headcount", "plan", spec, "--shards", shards], check=True, stdout=subprocess.DEVNULL)
    rules = [flag for rule in RULES[path_mode] for flag in ("--rule", rule)]
    done = subprocess.run([build / "headcount-runner", "quadrature", shards, *rules], check=True, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    print(f"{model}, {name}, {path_mode}", file=sys.stderr, flush=True)
    return {"model": model, "case": name, "path_mode": path_mode, **json.loads(done.stdout)}


def array(result, name):
    """The numbers of one array of a stored result (schemas/result.cc)."""
    at = 8
    while True:
        size, = struct.unpack_from("<H", result, at)
        found = result[at + 2:at + 2 + size].decode()
        n_dims = result[at + 2 + size]
        shape = struct.unpack_from(f"<{n_dims}q", result, at + 3 + size)
        at += 3 + size + 8 * n_dims
        if found == name:
            return struct.unpack_from(f"<{math.prod(shape)}d", result, at)
        at += 8 * math.prod(shape)


def gradients_of(build, spec, n_paths):
    """Mean gradients a row, mask and path of the spec's stage, by that build."""
    with tempfile.TemporaryDirectory() as state:
        subprocess.run([pathlib.Path(build) / "headcount", "run", spec, "--state", state, "--format", "quiet"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with contextlib.closing(sqlite3.connect(f"{state}/headcount.sqlite")) as store:
            spent = [n for data, in store.execute("SELECT data FROM result") for n in array(data, "evaluations")]
    return sum(spent) / len(spent) / n_paths


def compare(options):
    lines, results = ["| path | model | the other build | this one |", "|---|---|---|---|"], []
    with tempfile.TemporaryDirectory() as folder:
        for model, name, path_mode, spec in cases(options, pathlib.Path(folder)):
            n_paths = PATHS if path_mode == "stochastic_threshold" else 1
            other, this = (gradients_of(build, spec, n_paths) for build in (options.against, options.build))
            results.append({"model": model, "case": name, "path_mode": path_mode, "other": other, "this": this})
            lines.append(f"| {path_mode} | {model}, {name} | {other:.0f} | {this:.0f} |")
            print(lines[-1], file=sys.stderr, flush=True)
    ratio = sum(one["this"] for one in results) / sum(one["other"] for one in results)
    if options.output:
        answer = {**identity(options), "ratio": ratio, "results": results}
        pathlib.Path(options.output).write_text(json.dumps(answer, indent=1) + "\n")
    print("\n".join(lines) + f"\n\nSummed over the lines: a ratio of {ratio:.2f}.")


def identity(options):
    """What results may be put together: equal sizes."""
    return {"rows": options.rows, "path_rows": options.path_rows, "seeds": options.seeds}


def write(options, seconds, results):
    if options.output:
        answer = {**identity(options), "seconds": seconds, "results": results}
        pathlib.Path(options.output).write_text(json.dumps(answer, indent=1) + "\n")


def measured_before(options):
    """(seconds, results) of an earlier run that was stopped; Error where it measured something else."""
    if not options.output or not pathlib.Path(options.output).exists():
        return 0, []
    before = json.loads(pathlib.Path(options.output).read_text())
    if {key: before.get(key) for key in identity(options)} != identity(options):
        sys.exit(f"{options.output} holds a measurement of another size: name another file, or remove it")
    return before["seconds"], before["results"]


def table(results):
    lines = ["| path | model | rule | rows x masks x paths | unconverged | off by > 10 tol | worst, in tol | "
             "error of the mean vector, worst | gradients, mean | largest |", "|---|---|---|---|---|---|---|---|---|---|"]
    for path_mode, rules in RULES.items():
        for model in dict.fromkeys(r["model"] for r in results):
            for rule in rules:
                found = [one for r in results if r["model"] == model and r["path_mode"] == path_mode
                         for one in r["rules"] if one["rule"] == rule]
                if not found:
                    continue
                n = sum(one["n"] for one in found)
                mean = sum(one["evaluations_mean"] * one["n"] for one in found) / n
                worst = max(error for one in found for error in
                            [one["mean_vector_error"], *one.get("mean_vector_error_by_mask_prob", {}).values()])
                adaptive = rule.startswith("adaptive")
                judged = [str(sum(one["unconverged"] for one in found)), str(sum(one["beyond_10_tol"] for one in found)),
                          f"{max(one['worst_over_tol'] for one in found):.2f}"] if adaptive else ["-", "-", "-"]
                lines.append(f"| {path_mode} | {model} | {rule} | {n} | {' | '.join(judged)} | {100 * worst:.2g} % | "
                             f"{mean:.0f} | {max(one['evaluations_max'] for one in found)} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/release", help="where headcount and headcount-runner are")
    parser.add_argument("--shared", default=os.environ.get("HEADCOUNT_SHARED", "../shared"), help="the shared data")
    parser.add_argument("--rows", type=int, default=64, help="rows on the diagonal")
    parser.add_argument("--path-rows", type=int, default=8, help="rows on stochastic_threshold paths, four paths each")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of the built-in models on the diagonal")
    parser.add_argument("--jobs", type=int, default=2, help="specs measured at the same time, one core each")
    parser.add_argument("-o", "--output", help="a file for the numbers, as JSON")
    parser.add_argument("--against", metavar="DIR", help="where another build's programs are")
    options = parser.parse_args()
    if options.against:
        return compare(options)
    seconds, results = measured_before(options)
    begin = time.monotonic() - seconds
    known = {(one["model"], one["case"], one["path_mode"]) for one in results}
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        todo = [case for case in cases(options, pathlib.Path(folder)) if case[:3] not in known]
        for done in concurrent.futures.as_completed([pool.submit(measure, options, case) for case in todo]):
            results.append(done.result())
            write(options, round(time.monotonic() - begin), results)  # what is there is kept when stopped
    print(f"{round(time.monotonic() - begin)} s", file=sys.stderr)
    print(table(results))


if __name__ == "__main__":
    main()
