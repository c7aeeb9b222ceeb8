"""The same work with stock TFX, composed as its tutorials do: the yardstick.

    python tests/benchmarks/plain_pipeline.py --data DIR --workdir DIR

ImportExampleGen, StatisticsGen, SchemaGen, ExampleValidator, Transform with materialised
float32 images, a Trainer of 10 steps, Evaluator on split test, Pusher. Nothing is cached, and
Beam runs with its defaults; only the runner is named, because the default one first tries to
download another. No code of the project is used.
"""

import argparse
import os
from pathlib import Path
from typing import Any

SPLITS = ("train", "eval", "test")
STEPS = 10


def _components(data: Path, serving: Path, image_size: int) -> list[Any]:
    from tfx import v1 as tfx

    config = {"image_size": image_size, "classes": len((data / "labels.txt").read_text().split())}
    patterns = [tfx.proto.Input.Split(name=name, pattern=f"{name}/*") for name in SPLITS]
    examples = tfx.components.ImportExampleGen(
        input_base=str(data), input_config=tfx.proto.Input(splits=patterns)
    )
    statistics = tfx.components.StatisticsGen(examples=examples.outputs["examples"])
    schema = tfx.components.SchemaGen(statistics=statistics.outputs["statistics"])
    validator = tfx.components.ExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]
    )
    # By import path: `module_file` would also build and install a package.
    transform = tfx.components.Transform(
        examples=examples.outputs["examples"],
        schema=schema.outputs["schema"],
        preprocessing_fn="plain_module.preprocessing_fn",
        custom_config=config,
    )
    trainer = tfx.components.Trainer(
        run_fn="plain_module.run_fn",
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema.outputs["schema"],
        train_args=tfx.proto.TrainArgs(num_steps=STEPS),
        eval_args=tfx.proto.EvalArgs(num_steps=STEPS),
        custom_config=config,
    )
    evaluator = tfx.components.Evaluator(
        examples=examples.outputs["examples"],
        model=trainer.outputs["model"],
        eval_config=_eval_config(),
        example_splits=["test"],
    )
    pusher = tfx.components.Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=str(serving))
        ),
    )
    return [examples, statistics, schema, validator, transform, trainer, evaluator, pusher]


def _eval_config() -> Any:
    import tensorflow_model_analysis as tfma

    threshold = tfma.MetricThreshold(
        value_threshold=tfma.GenericValueThreshold(lower_bound={"value": 0.0})
    )
    metric = tfma.MetricConfig(class_name="SparseCategoricalAccuracy", threshold=threshold)
    return tfma.EvalConfig(
        model_specs=[tfma.ModelSpec(signature_name="serving_default", label_key="label")],
        slicing_specs=[tfma.SlicingSpec()],
        metrics_specs=[tfma.MetricsSpec(metrics=[metric])],
    )


def main() -> None:
    """Runs the pipeline."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="data set")
    parser.add_argument("--workdir", type=Path, required=True, help="artifacts and metadata")
    parser.add_argument("--image-size", type=int, default=72, help="pixels a side (%(default)s)")
    args = parser.parse_args()
    workdir = args.workdir.absolute()
    workdir.mkdir(parents=True, exist_ok=True)
    # TensorFlow Transform's layer is a Keras 2 layer.
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    from tfx import v1 as tfx

    pipeline = tfx.dsl.Pipeline(
        pipeline_name="plain",
        pipeline_root=str(workdir / "artifacts"),
        components=_components(args.data.absolute(), workdir / "serving", args.image_size),
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(workdir / "metadata.sqlite")
        ),
        beam_pipeline_args=["--runner=FnApiRunner"],
    )
    tfx.orchestration.LocalDagRunner().run(pipeline)


if __name__ == "__main__":
    main()
