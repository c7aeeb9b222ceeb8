"""One change at a time to the recommended recipe, each a whole run with the same number of epochs.

    python tests/benchmarks/ablation.py --data DIR --workdir DIR [--epochs 4] [--only NAME ...]

Every row of `ROWS` is `vitpipe run --preset cifar10` with a few settings more, measured on the
eval split; a gate that nothing passes keeps it from being pushed, and from becoming the
baseline of the next. All share one work directory, so the data stages run once. A finished row
is appended to the results file at once and is not run again; a row that was cut off resumes in
its last epoch. `--table` prints what there is as Markdown and runs nothing.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("ablation.jsonl")
BASELINE = "the recipe"
_REFUSED = 3


@dataclass(frozen=True)
class Row:
    """What is changed, with which settings, and over how many seeds."""

    name: str
    settings: tuple[str, ...] = ()
    seeds: int = 1


ROWS = (
    Row(BASELINE, seeds=2),
    Row("constant learning rate after warm-up", ("optimizer.schedule=constant",), 2),
    Row("no warm-up", ("optimizer.warmup_fraction=0",)),
    Row("learning rate 5e-4", ("optimizer.learning_rate=5e-4",)),
    Row("learning rate 3e-3", ("optimizer.learning_rate=3e-3",)),
    Row("weight decay 1e-4", ("optimizer.weight_decay=1e-4",)),
    Row("decay of every weight", ("optimizer.decay_all=true",)),
    Row("no label smoothing", ("trainer.label_smoothing=0",)),
    Row("no augmentation", ("trainer.augmentation=none",), 2),
    Row("flip, rotation and zoom", ("trainer.augmentation=flip_rotate_zoom",), 2),
    Row("class token", ("model.pooling=cls",), 2),
    Row("mean pooling", ("model.pooling=mean",)),
    Row("patches of 4 x 4, no convolutions", ("model.stem=patch", "model.stem_channels=[]"), 2),
    Row("dropout 0.1", ("model.dropout=0.1",)),
    Row("batch of 256", ("trainer.batch_size=256",)),
    Row("batch of 64", ("trainer.batch_size=64",)),
)


def planned(rows: Sequence[Row]) -> Iterator[tuple[Row, int]]:
    """Rows with their seeds: all first seeds, then the second ones."""
    for seed in range(1, max(row.seeds for row in rows) + 1):
        yield from ((row, seed) for row in rows if seed <= row.seeds)


def read_results() -> list[dict[str, Any]]:
    """What was measured so far."""
    lines = RESULTS.read_text().splitlines() if RESULTS.is_file() else []
    return [json.loads(line) for line in lines]


def run(row: Row, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """One run; what is kept of its summary."""
    settings = [
        *row.settings,
        f"trainer.seed={seed}",
        f"trainer.epochs={args.epochs}",
        "gate.split=eval",
        "gate.top_k_accuracy=1.01",
    ]
    places = ["--data", str(args.data), "--workdir", str(args.workdir)]
    command = [sys.executable, "-m", "pipeline.cli", "run", "--preset", "cifar10", *places]
    command += [argument for setting in settings for argument in ("--set", setting)]
    code = subprocess.run(command, check=False).returncode
    if code != _REFUSED:
        raise SystemExit(f"{row.name}, seed {seed}: expected exit code {_REFUSED}, got {code}")
    folder = max((args.workdir / "runs").iterdir())
    summary = json.loads((folder / "summary.json").read_text())
    seconds = {entry["name"]: entry["seconds"] for entry in summary["components"]}
    return {
        "row": row.name,
        "settings": list(row.settings),
        "seed": seed,
        "epochs": args.epochs,
        "top_1_accuracy": summary["metrics"]["top_1_accuracy"],
        "top_5_accuracy": summary["metrics"]["top_5_accuracy"],
        "loss": summary["metrics"]["loss"],
        "trainer_seconds": round(seconds["Trainer"], 1),
        "date": summary["started"][:10],
    }


def table(results: Sequence[dict[str, Any]], epochs: int) -> str:
    """The rows in their order, with the mean over seeds and the difference to the recipe."""
    by_row: dict[str, list[dict[str, Any]]] = {row.name: [] for row in ROWS}
    for result in results:
        if result["epochs"] == epochs:
            by_row.setdefault(result["row"], []).append(result)
    lines = [
        "| change | eval top-1 | against the recipe | top-5 | seeds | Trainer |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [_line(name, found, by_row[BASELINE]) for name, found in by_row.items() if found]
    return "\n".join(lines)


def _line(name: str, found: Sequence[dict[str, Any]], recipe: Sequence[dict[str, Any]]) -> str:
    top_1 = _mean(found, "top_1_accuracy")
    seeds = {result["seed"] for result in found}
    same = [result for result in recipe if result["seed"] in seeds]
    difference = f"{100 * (top_1 - _mean(same, 'top_1_accuracy')):+.2f}" if same else ""
    top_5, seconds = _mean(found, "top_5_accuracy"), _mean(found, "trainer_seconds")
    return (
        f"| {name} | {100 * top_1:.2f}% | {difference} | {100 * top_5:.2f}% | {len(seeds)} | "
        f"{seconds:.0f} s |"
    )


def _mean(results: Sequence[dict[str, Any]], key: str) -> float:
    return statistics.fmean(result[key] for result in results)


def main() -> None:
    """Runs what is missing, then prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, help="CIFAR-10 from `vitpipe data`")
    parser.add_argument("--workdir", type=Path, help="for all rows together")
    parser.add_argument("--epochs", type=int, default=4, help="of every row (%(default)s)")
    parser.add_argument("--only", nargs="+", help="names of rows")
    parser.add_argument("--table", action="store_true", help="print the table and run nothing")
    args = parser.parse_args()
    rows = [row for row in ROWS if not args.only or row.name in args.only]
    if not args.table and not (args.data and args.workdir and rows):
        parser.error("give --data and --workdir, and to --only names of rows; or --table")
    done = {(r["row"], r["seed"], r["epochs"]) for r in read_results()}
    for row, seed in () if args.table else planned(rows):
        if (row.name, seed, args.epochs) not in done:
            result = run(row, seed, args)
            with RESULTS.open("a") as file:
                file.write(json.dumps(result) + "\n")
    print(table(read_results(), args.epochs))


if __name__ == "__main__":
    main()
