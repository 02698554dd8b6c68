#!/usr/bin/env python3
"""Loading tensors: from a sealed file into protected memory, beside safetensors.numpy from a plain one.

    load_safetensors.py --vault target/release/vault-for-tests --model FILE --bytes N --rounds R --json OUT

Each load is a process of its own, and they take turns. Files come out of the page cache.
"""

import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np


def resident():
    status = pathlib.Path("/proc/self/status").read_text()
    return sum(int(kib) for kib in re.findall(r"^Rss(?:Anon|Shmem):\s+(\d+) kB", status, re.MULTILINE)) << 10


def load_sealed(path, home):
    import strongroom

    room = strongroom.connect(home=home)
    before, start = resident(), time.perf_counter()
    with room.lease(read={"model": path}) as lease:
        granted = time.perf_counter()
        tensors = lease.load_safetensors(path, asset="model")
        every = [tensors[name] for name in tensors]
        end = time.perf_counter()
        print(json.dumps({"s": end - granted, "release_s": granted - start, "grown": resident() - before, "tensors": len(every)}))


def load_plain(path, _home):
    from safetensors.numpy import load_file

    before, start = resident(), time.perf_counter()
    tensors = load_file(path)
    end = time.perf_counter()
    print(json.dumps({"s": end - start, "release_s": 0, "grown": resident() - before, "tensors": len(tensors)}))


def synthetic(path, size):
    """Tensors of 64 MiB each."""
    import safetensors.numpy

    random = np.random.default_rng(1)
    count = max(size >> 26, 1)
    tensors = {f"t{i}": random.integers(0, 256, size // count // 4 * 4, np.uint8).view(np.float32) for i in range(count)}
    safetensors.numpy.save_file(tensors, path)


def measure(plain, sealed, home, rounds):
    ways = {"sealed": (load_sealed, sealed), "plain": (load_plain, plain)}
    runs = {way: [] for way in ways}
    for _ in range(rounds):
        for way, (_, path) in ways.items():
            command = [sys.executable, __file__, "--load", way, "--path", str(path), "--home", str(home)]
            runs[way].append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
    median = {way: {key: statistics.median(run[key] for run in some) for key in some[0]} for way, some in runs.items()}
    size = plain.stat().st_size
    return {
        "bytes": size,
        "sealed_s": median["sealed"]["s"],
        "plain_s": median["plain"]["s"],
        "ratio": median["sealed"]["s"] / median["plain"]["s"],
        "release_s": median["sealed"]["release_s"],
        "sealed_grown": max(run["grown"] for run in runs["sealed"]),
        "plain_grown": max(run["grown"] for run in runs["plain"]),
        "rounds": rounds,
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--vault")
    parser.add_argument("--model", type=pathlib.Path)
    parser.add_argument("--bytes", type=int)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--load", choices=["sealed", "plain"])
    parser.add_argument("--path")
    parser.add_argument("--home")
    arguments = parser.parse_args()
    if arguments.load:
        return {"sealed": load_sealed, "plain": load_plain}[arguments.load](arguments.path, arguments.home)
    import strongroom

    with (
        tempfile.TemporaryDirectory(dir=arguments.json.parent) as directory,
        subprocess.Popen([arguments.vault], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as vault,
    ):
        home = json.loads(vault.stdout.readline())["home"]
        room = strongroom.connect(home=home)
        large = pathlib.Path(directory) / "large.safetensors"
        synthetic(large, arguments.bytes)
        report = []
        for name, plain in {"all-MiniLM-L6-v2": arguments.model, "synthetic": large}.items():
            sealed = pathlib.Path(directory) / f"{name}.sealed"
            room.seal(plain, sealed, asset="model")
            report.append({"file": name} | measure(plain, sealed, home, arguments.rounds))
        vault.stdin.close()
    arguments.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
