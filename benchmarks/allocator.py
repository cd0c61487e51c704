"""Freed memory that stays with the process: ``hone fit`` with and without ``keep_freed_memory``, in turn.

    python benchmarks/allocator.py TIMES DATA [OPTIONS of hone fit]

Without: a tunable of glibc is stated at its default, so that hone leaves malloc as it is.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

LEFT = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=7"}


def fit(words: list[str], environment: dict[str, str]) -> dict[str, float]:
    """One run in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hone", "fit", *words, "--out", f"{folder}/run"]
        process = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL)
        _, status, own = os.wait4(process.pid, 0)
        if status:
            sys.exit(f"hone fit failed with {os.waitstatus_to_exitcode(status)}")
        result = json.loads(Path(folder, "run", "result.json").read_text())
    return {
        "samples/s": result["samples_per_second"],
        "user s": own.ru_utime,
        "system s": own.ru_stime,
        "thousand faults": own.ru_minflt / 1000,
        "MiB": own.ru_maxrss / 1024,
    }


def main(times: int, words: list[str]) -> None:
    """In turn; medians, and the ratio of each pair."""
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]}"
    )
    rows: dict[str, list[dict[str, float]]] = {"left": [], "kept": []}
    for _ in range(times):
        for name, environment in (("left", LEFT), ("kept", {})):
            rows[name].append(fit(words, environment))
            print(name, {key: round(value, 1) for key, value in rows[name][-1].items()}, flush=True)
    for key in rows["kept"][0]:
        left, kept = ([row[key] for row in rows[name]] for name in ("left", "kept"))
        ratios = [b / a for a, b in zip(left, kept, strict=True)]
        print(
            f"{key}: {statistics.median(left):.1f} left, {statistics.median(kept):.1f} kept; "
            f"{statistics.median(ratios):.2f} times ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:]) if len(sys.argv) > 2 else sys.exit(__doc__)
