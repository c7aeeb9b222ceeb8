"""A run on this machine, from the command to the exit code."""

import os
import shlex
import shutil
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from absl import logging

from components import cluster, weights_file
from components import progress as reporting
from components.errors import ModelRefusedError, UsageError, VitpipeError
from components.preconditions import few_steps, require_trainable
from pipeline.capture import captured_output
from pipeline.config import RunConfig, to_values, to_yaml
from pipeline.data.dataset import DataSet, read_dataset
from pipeline.paths import require_writable
from pipeline.progress import Progress
from pipeline.record import CONFIG_FILE, LOG_FILE, REPORT_FILE, RunRecord
from pipeline.report import summary_table
from pipeline.workdir import WorkDir

STATUSES = {0: "pushed", 2: "data_refused", 3: "model_refused"}


@dataclass(frozen=True)
class Request:
    """What a user asked for."""

    preset: str
    config: RunConfig
    data: Path
    workdir: WorkDir
    serving: Path
    arguments: tuple[str, ...]

    @property
    def model_dir(self) -> Path:
        """The folder that a model server watches."""
        return self.serving / self.config.pusher.model_name


def run(request: Request) -> int:
    """Runs the pipeline and returns the exit code.

    Raises:
        VitpipeError: the run was refused before it began; nothing was written.
    """
    with request.workdir.locked():
        dataset = read_dataset(request.data)
        _refuse_early(request.config, dataset)
        require_writable(request.model_dir, "the folder to push to")
        folder = request.workdir.new_run()
        (folder / CONFIG_FILE).write_text(to_yaml(request.config))
        record = RunRecord(folder, _first_entries(request, dataset))
        with captured_output(folder / LOG_FILE) as stream:
            interactive = stream.isatty()
            try:
                code = _observed(request, dataset, record, stream)
            except (Exception, KeyboardInterrupt) as error:
                # Whatever happened, the record says how the run ended and how to go on.
                traceback.print_exc()
                code = 1
                record.update(
                    status="failed",
                    exit_code=1,
                    resume_command=_resume(request),
                    message=_describe(error),
                )
            summary_table(record.summary, stream, interactive)
        return code


def _refuse_early(config: RunConfig, dataset: DataSet) -> None:
    """What would fail in an hour is refused now."""
    images, batch = dataset.examples["train"], config.trainer.batch_size
    require_trainable(images, batch, len(dataset.class_names))
    if config.trainer.strategy == "multi_worker":
        cluster.chief_from_environment()
    if config.validation.schema:
        _require_schema(Path(config.validation.schema))
    if config.trainer.init_from:
        trained = weights_file.read(Path(config.trainer.init_from))
        weights_file.require_fit(trained, config.model)


def _require_schema(path: Path) -> None:
    # Imported here: most runs take the project's own.
    from components import class_names

    if not path.is_file():
        raise UsageError(f"validation.schema: there is no file {path}")
    try:
        class_names.require_schema(path)
    except UsageError as error:
        raise UsageError(f"validation.schema: {error}") from None


def _first_entries(request: Request, dataset: DataSet) -> dict[str, Any]:
    splits = {
        name: {"examples": split.examples, "per_class": split.per_class(len(dataset.class_names))}
        for name, split in dataset.splits.items()
    }
    return {
        "preset": request.preset,
        "data": {
            "dir": str(dataset.directory),
            "classes": list(dataset.class_names),
            "splits": splits,
            "dropped": [],
        },
        "config": to_values(request.config),
    }


def _observed(request: Request, dataset: DataSet, record: RunRecord, stream: TextIO) -> int:
    with Progress(stream, stream.isatty()) as shown:
        shown.note(f"run {record.folder.name}, preset {request.preset}: loading TensorFlow and TFX")
        trainer = request.config.trainer
        few = few_steps(dataset.examples["train"], trainer.batch_size, trainer.epochs)
        if few:
            shown.note(few)

        def listener(event: str, values: dict[str, Any]) -> None:
            record.on_event(event, values)
            _show(shown, event, values)

        with reporting.listening(listener):
            return _executed(request, dataset, record)


def _show(shown: Progress, event: str, values: dict[str, Any]) -> None:
    handlers: dict[str, Callable[..., None]] = {
        "component_started": shown.component_started,
        "component_finished": shown.component_finished,
        "step": shown.training,
        "epoch": shown.epoch_finished,
    }
    if event in handlers:
        handlers[event](**values)
    elif event == "note":
        shown.note(values["text"])


def _executed(request: Request, dataset: DataSet, record: RunRecord) -> int:
    """Runs the DAG and settles the record, whatever happens."""
    set_environment()
    # Imported here: a quarter of a minute that refusals and --help need not wait for.
    from pipeline import execution

    job = execution.Job(
        request.config,
        _inputs(request, dataset),
        str(request.workdir.artifacts),
        str(request.workdir.metadata),
        record.folder.name,
    )
    outcome = execution.Execution(job)
    code, message = 0, ""
    try:
        outcome.run()
    except VitpipeError as error:
        code, message = error.exit_code, str(error)
        # Whole, as the closing table shows the beginning alone.
        print(f"{type(error).__name__}: {message}", file=sys.stderr, flush=True)
    except Exception as error:  # any component may fail in any way; the log has the trace
        traceback.print_exc()
        code, message = 1, _describe(error)
    outcome.remove_checkpoints()
    facts = outcome.facts()
    if code == 0 and facts["pushed_path"] is None:
        code = ModelRefusedError.exit_code
        message = "\n".join(facts["refusals"]) or "not blessed, for no reason that the run knows"
    data = {**record.summary["data"], "dropped": facts.pop("dropped")}
    record.update(
        **facts,
        data=data,
        status=STATUSES.get(code, "failed"),
        exit_code=code,
        message=message,
        resume_command=_resume(request) if code == 1 else None,
    )
    _report(outcome, record)
    return code


def _report(outcome: Any, record: RunRecord) -> None:
    """A page that cannot be drawn is told, but does not undo the run."""
    try:
        outcome.write_report(record.folder / REPORT_FILE, record.summary)
    except Exception as error:  # the run is settled; only its picture is missing
        traceback.print_exc()
        text = f"report.html could not be written: {_describe(error)}; the log has the trace"
        record.update(message="\n".join(filter(None, [record.summary["message"], text])))
        reporting.emit("note", text=text)


def _resume(request: Request) -> str:
    return shlex.join([*_this_command(), *request.arguments])


def _this_command() -> list[str]:
    """How this program can be called again: by its name only where the shell finds it."""
    program = Path(sys.argv[0])
    if program.name != "vitpipe":
        return [sys.executable, "-m", "pipeline.cli"]
    found = shutil.which("vitpipe")
    same = found is not None and Path(found).resolve() == program.resolve()
    return ["vitpipe" if same else sys.argv[0]]


def _describe(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return f"{type(error).__name__}: {error}"


def _inputs(request: Request, dataset: DataSet) -> Any:
    from pipeline.dag import Inputs
    from pipeline.execution import missing_versions

    patterns = {
        name: os.path.join(split.folder.name, "*") for name, split in dataset.splits.items()
    }
    start = request.config.trainer.init_from
    return Inputs(
        data_dir=str(dataset.directory),
        patterns=patterns,
        class_names=dataset.class_names,
        data_digest=dataset.digest,
        checkpoint_dir=str(request.workdir.checkpoints),
        model_dir=str(request.model_dir),
        missing=missing_versions(request.workdir.metadata, request.model_dir),
        initial_weights=weights_file.digest(Path(start)) if start else "",
    )


def set_environment() -> None:
    """What has to stand before TensorFlow is imported, said once."""
    # TensorFlow Transform's layer is a Keras 2 layer; `import keras` stays Keras 3.
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    # Or a process takes a GPU's whole memory: the serving check's and the workers' need some too.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    # The log file is for those who look for a cause.
    logging.set_verbosity(logging.INFO)
