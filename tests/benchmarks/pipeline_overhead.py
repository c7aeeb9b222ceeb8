"""What everything but training costs, in this project and the plain way through TFX.

    python tests/benchmarks/pipeline_overhead.py --data DIR [--images 6000 20000 60000]

Every run is a fresh process on a fresh work directory, with the same images. Ours trains for
one epoch, the plain way for ten steps. For both, the seconds of a component are those between
its start and its end in ML Metadata. Everything but training is the wall time of the process
less the whole Trainer: so it holds start-up, and the report, but neither building nor exporting
the model. "Less the training steps" takes only the steps themselves away.
"""

import argparse
import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PLAIN = "plain"
TRAINER = "Trainer"
_LOG_TAIL = 2000


@dataclass(frozen=True)
class Way:
    """One way to run the pipeline: its name in the table, and its command without places."""

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Measured:
    """One run: seconds, and bytes of memory and disk.

    `components` are seconds by name, `training` the seconds of the training steps alone,
    `peak_in` names the component in which most memory was held.
    """

    way: str
    images: int
    total: float
    training: float
    components: dict[str, float]
    peak: int
    peak_outside_trainer: int
    peak_in: str
    disk: int

    @property
    def without_trainer(self) -> float:
        """Seconds of everything but the Trainer."""
        return self.total - self.components[TRAINER]

    @property
    def without_steps(self) -> float:
        """Seconds of everything but the training steps."""
        return self.total - self.training


def ours(preset: str) -> Way:
    """The project's own command; the gate lets any model through, so that all of it runs."""
    settings = ("trainer.epochs=1", "gate.top_k_accuracy=0")
    arguments = [argument for setting in settings for argument in ("--set", setting)]
    command = (sys.executable, "-m", "pipeline.cli", "run", "--preset", preset, *arguments)
    return Way("ours", command)


def plain(image_size: int) -> Way:
    """Stock TFX."""
    script = str(HERE / "plain_pipeline.py")
    return Way(PLAIN, (sys.executable, script, "--image-size", str(image_size)))


def run(way: Way, data: Path, images: int, scratch: Path) -> Measured:
    """Runs one way on a data set.

    Raises:
        SystemExit: it failed; the message ends with its log.
    """
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        workdir, result, log = (Path(folder) / name for name in ("work", "result", "log"))
        measure = [sys.executable, str(HERE / "process_tree.py")]
        places = ["--data", str(data), "--workdir", str(workdir)]
        options = ["--output", str(result), "--log", str(log)]
        done = subprocess.run([*measure, *options, *way.command, *places], check=False)
        if done.returncode:
            logs = [log, *workdir.glob("runs/*/run.log")]
            tail = "\n".join(path.read_text(errors="replace")[-_LOG_TAIL:] for path in logs)
            raise SystemExit(f"{way.name} ended with {done.returncode}:\n{tail}")
        return _measured(way.name, images, workdir, json.loads(result.read_text()))


def _measured(name: str, images: int, workdir: Path, result: dict[str, Any]) -> Measured:
    executions = list(_executions(workdir / "metadata.sqlite"))
    training = next((start, end) for node, start, end in executions if node == TRAINER)
    outside = [size for at, size in result["samples"] if not training[0] <= at <= training[1]]
    at_peak, peak = max(result["samples"], key=lambda sample: sample[1])
    peak_in = next((node for node, start, end in executions if start <= at_peak <= end), "none")
    (history,) = (workdir / "artifacts").glob("Trainer/model_run/*/history.json")
    return Measured(
        way=name,
        images=images,
        total=result["seconds"],
        training=sum(json.loads(history.read_text())["seconds"]),
        components={node: end - start for node, start, end in executions},
        peak=peak,
        peak_outside_trainer=max(outside),
        peak_in=peak_in,
        disk=_disk(workdir),
    )


def _executions(database: Path) -> Iterator[tuple[str, float, float]]:
    """Component, start and end (Unix time) of every execution, in order."""
    query = (
        "SELECT t.name, e.create_time_since_epoch, e.last_update_time_since_epoch"
        " FROM Execution e JOIN Type t ON t.id = e.type_id ORDER BY e.id"
    )
    connection = sqlite3.connect(database)
    try:
        for name, start, end in connection.execute(query):
            yield name.rpartition(".")[2], start / 1000, end / 1000
    finally:
        connection.close()


def _disk(folder: Path) -> int:
    """Bytes of all files, hard links counted once."""
    stats = [path.lstat() for path in folder.rglob("*") if path.is_file()]
    return sum({(stat.st_dev, stat.st_ino): stat.st_size for stat in stats}.values())


def typical(runs: Sequence[Measured]) -> Measured:
    """The medians of runs of one way on one data set."""
    middle = {
        field: statistics.median(getattr(run, field) for run in runs)
        for field in ("total", "training", "peak", "peak_outside_trainer", "disk")
    }
    components = {
        name: statistics.median(run.components[name] for run in runs) for name in runs[0].components
    }
    first = max(runs, key=lambda run: run.peak)
    return Measured(
        way=first.way,
        images=first.images,
        peak_in=first.peak_in,
        components=components,
        **middle,
    )


def table(runs: Sequence[Measured]) -> str:
    """Markdown: a column a run, a row a figure."""
    names = dict.fromkeys(name for run in runs for name in run.components)
    rows = [
        ("", [f"{run.images:,} images, {run.way}" for run in runs]),
        ("---", ["---:"] * len(runs)),
        ("everything but the Trainer, s", _column(runs, "without_trainer", 1)),
        ("all, less the training steps, s", _column(runs, "without_steps", 1)),
        ("wall time, s", _column(runs, "total", 1)),
        ("peak memory, GiB", _column(runs, "peak", 2**30)),
        ("peak outside the Trainer, GiB", _column(runs, "peak_outside_trainer", 2**30)),
        ("the peak is in", [run.peak_in for run in runs]),
        ("on disk, MB", _column(runs, "disk", 1e6)),
    ]
    for name in names:
        cells = [f"{run.components[name]:.1f}" if name in run.components else "" for run in runs]
        rows.append((f"{name}, s", cells))
    return "\n".join(f"| {' | '.join([name, *cells])} |" for name, cells in rows)


def _column(runs: Sequence[Measured], figure: str, unit: float) -> list[str]:
    digits = 2 if unit == 2**30 else 1
    return [f"{getattr(run, figure) / unit:,.{digits}f}" for run in runs]


def ratios(runs: Iterable[Measured]) -> Iterator[str]:
    """How much more the plain way takes than each of ours on the same images, a line each."""
    by_name = {(run.images, run.way): run for run in runs}
    for (images, way), run in by_name.items():
        other = by_name.get((images, PLAIN))
        if way != PLAIN and other is not None:
            yield (
                f"{images:,} images, plain against {way}: "
                f"{other.without_trainer / run.without_trainer:.2f} times the seconds, "
                f"{other.peak / run.peak:.2f} times the memory, "
                f"{other.disk / run.disk:.2f} times the disk"
            )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10 from `vitpipe data`")
    parser.add_argument("--images", type=int, nargs="+", default=[60_000], help="%(default)s")
    parser.add_argument("--only", choices=("ours", PLAIN), help="one way instead of both")
    parser.add_argument("--preset", default="cifar10", help="of ours (%(default)s)")
    parser.add_argument(
        "--image-size", type=int, default=72, help="of the plain way, pixels (%(default)s)"
    )
    parser.add_argument("--repeat", type=int, default=1, help="runs a way (%(default)s)")
    parser.add_argument("--scratch", type=Path, help="folder with 10 GB free (the system's)")
    parser.add_argument("--output", type=Path, help="JSON file with every run")
    return parser


def _ways(args: argparse.Namespace) -> list[Way]:
    own = [] if args.only == PLAIN else [ours(args.preset)]
    return own if args.only == "ours" else [*own, plain(args.image_size)]


def _data(source: Path, images: int, scratch: Path) -> Path:
    target = scratch / f"data-{images}"
    options = ["--data", str(source), "--images", str(images), "--output", str(target)]
    subprocess.run([sys.executable, str(HERE / "subset.py"), *options], check=True)
    return target


def _image_sizes(args: argparse.Namespace) -> dict[str, int]:
    from pipeline.presets import preset

    sizes = {"ours": preset(args.preset).model.image_size, PLAIN: args.image_size}
    return {name: size for name, size in sizes.items() if args.only in (None, name)}


def main() -> None:
    """Runs everything, prints the table and the ratios."""
    args = _parser().parse_args()
    machine = {"cpus": os.cpu_count(), "platform": platform.platform(), "load": os.getloadavg()[0]}
    sizes = _image_sizes(args)
    print(f"{machine}\npixels a side of a transformed image: {sizes}", flush=True)
    runs: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="vitpipe-overhead-", dir=args.scratch) as folder:
        for images in args.images:
            data = _data(args.data, images, Path(folder))
            for _ in range(args.repeat):
                for way in _ways(args):
                    runs.append(run(way, data, images, Path(folder)))
                    last = runs[-1]
                    print(
                        f"{images:,} images, {way.name}: {last.without_trainer:.1f} s", flush=True
                    )
                    if args.output:
                        content = {"machine": machine, "image_sizes": sizes}
                        content["runs"] = [asdict(each) for each in runs]
                        args.output.write_text(json.dumps(content, indent=1) + "\n")
    groups: dict[tuple[int, str], list[Measured]] = {}
    for each in runs:
        groups.setdefault((each.images, each.way), []).append(each)
    medians = [typical(group) for group in groups.values()]
    print(table(medians), *ratios(medians), sep="\n")


if __name__ == "__main__":
    main()
