"""How long `vitpipe data cifar10` takes for all 60,000 images.

    python tests/benchmarks/data_conversion.py --source DIR_OF_BINARY_BATCHES

Each repetition is a fresh process that writes a fresh folder.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def convert(source: Path, target: Path) -> float:
    """Wall seconds of one conversion, Python's start included."""
    command = [sys.executable, "-m", "pipeline.cli", "data", "cifar10"]
    start = time.monotonic()
    subprocess.run([*command, "--source", str(source), "--output", str(target)], check=True)
    return time.monotonic() - start


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Prints one line a repetition, then the median."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--source", "--data", type=Path, required=True, help="folder or .tar.gz, as published"
    )
    parser.add_argument("--repeat", type=int, default=3, help="conversions (%(default)s)")
    parser.add_argument("--output", type=Path, help="JSON file with the figures")
    args = parser.parse_args()
    seconds = []
    with tempfile.TemporaryDirectory(prefix="vitpipe-conversion-") as scratch:
        for number in range(args.repeat):
            target = Path(scratch) / str(number)
            seconds.append(convert(args.source, target))
            size = _size(target)
            print(f"conversion {number + 1}: {seconds[-1]:.1f} s, {size / 1e6:.0f} MB written")
    median = statistics.median(seconds)
    print(
        f"median {median:.1f} s on {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}; mark 30 s"
    )
    if args.output:
        result = {"seconds": seconds, "bytes": size, "cpus": os.cpu_count()}
        args.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
