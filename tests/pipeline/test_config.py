"""Settings: composed, written, read back, and refused before anything starts."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.errors import UsageError
from models.variants import VARIANTS
from pipeline import settings
from pipeline.config import (
    SECTIONS,
    RunConfig,
    from_values,
    parse_settings,
    read_yaml,
    to_values,
    to_yaml,
)
from pipeline.presets import PRESETS, preset

FIELDS = [
    (section, item.name)
    for section in SECTIONS
    for item in dataclasses.fields(getattr(RunConfig(), section))
]


def set_(*texts: str, base: str = "demo") -> RunConfig:
    return from_values(parse_settings(texts), preset(base))


@pytest.mark.parametrize("name", PRESETS)
def test_yaml_gives_every_field_of_a_preset_back(name: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(preset(name)))
    # Over each of the presets, so that no field is right because it was left alone.
    for base in PRESETS.values():
        again = from_values(read_yaml(file), base)
        for section, field in FIELDS:
            found = getattr(getattr(again, section), field)
            wanted = getattr(getattr(preset(name), section), field)
            assert (section, field, found) == (section, field, wanted)
            assert type(found) is type(wanted)
        assert again == preset(name)


def other(value: Any) -> Any:
    """Another value of the same type that is likely to be in range."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, float):
        return value / 2 + 0.125
    return value * 2 if isinstance(value, int) else value


@pytest.mark.parametrize(("section", "field"), FIELDS)
def test_each_field_is_written_and_read_on_its_own(
    section: str, field: str, tmp_path: Path
) -> None:
    base = preset("seed")
    value = other(getattr(getattr(base, section), field))
    try:
        changed = from_values({section: {field: value}}, base)
    except UsageError as error:
        # A size that contradicts another one: then the refusal has to say which.
        assert section == "model"
        assert field in str(error)
        return
    assert getattr(getattr(changed, section), field) == value
    (tmp_path / "c.yaml").write_text(to_yaml(changed))
    assert from_values(read_yaml(tmp_path / "c.yaml"), RunConfig()) == changed


def test_yaml_shows_the_help_beside_every_field() -> None:
    text = to_yaml(preset("demo"))
    for section, field in FIELDS:
        item = next(i for i in dataclasses.fields(getattr(RunConfig(), section)) if i.name == field)
        assert f"# {item.metadata['help']}" in text
    values = yaml.safe_load(text)
    assert list(values) == list(SECTIONS)
    assert {(s, f) for s, fields in values.items() for f in fields} == set(FIELDS)


def test_values_are_plain() -> None:
    values = to_values(preset("cifar10"))
    assert values["model"]["stem_channels"] == [64, 128]
    assert from_values(values, RunConfig()) == preset("cifar10")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trainr.epochs=3", "there is no section 'trainr'; did you mean trainer?"),
        (
            "trainer.epocs=3",
            "there is no setting 'trainer.epocs'; did you mean trainer.epochs?",
        ),
        (
            "optimizer.learningrate=1",
            "there is no setting 'optimizer.learningrate'; did you mean optimizer.learning_rate?",
        ),
        ("trainer.learning_rate=1", "did you mean optimizer.learning_rate?"),
        ("optimizer.epochs=1", "did you mean trainer.epochs?"),
        ("trainer.name=x", "did you mean optimizer.name?"),
        ("epochs=3", "got 'epochs=3'; did you mean trainer.epochs?"),
        ("learning_rat=3", "did you mean optimizer.learning_rate?"),
        ("name=3", "did you mean model.name or optimizer.name?"),
        ("gate.topk_accuracy=1", "did you mean gate.top_k_accuracy?"),
        ("model.name=vit_cifr", "there is no model variant 'vit_cifr'; did you mean vit_cifar?"),
        ("zzz.zzz=1", "there is no section 'zzz'; known: validation, transform, model"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        set_(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("trainer.epochs=three", "trainer.epochs: Input should be a valid integer, got 'three'"),
        ("trainer.epochs=2.5", "trainer.epochs: "),
        ("trainer.epochs=2.0", "trainer.epochs: "),
        ("trainer.epochs=true", "trainer.epochs: "),
        ("trainer.epochs=null", "trainer.epochs: "),
        ("trainer.epochs=", "trainer.epochs: "),
        ("optimizer.decay_all=1", "optimizer.decay_all: "),
        ("optimizer.decay_all=yes", "optimizer.decay_all: "),
        ("trainer.augmentation=3", "trainer.augmentation: "),
        ("optimizer.learning_rate=fast", "optimizer.learning_rate: "),
        ("optimizer.learning_rate=true", "optimizer.learning_rate: "),
        ("model.stem_channels=64", "model.stem_channels"),
        ('model.stem_channels=["a"]', "model.stem_channels"),
    ],
)
def test_a_value_of_another_type_is_refused(text: str, place: str) -> None:
    with pytest.raises(UsageError) as caught:
        set_(text)
    assert str(caught.value).startswith(place)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trainer.epochs=0", "trainer: epochs must be 1 or more, got 0"),
        ("trainer.batch_size=0", "batch_size must be 1 or more"),
        ("trainer.seed=-1", "seed must be 0 .. 2**32 - 1, got -1"),
        ("trainer.seed=4294967296", "seed must be 0 .. 2**32 - 1, got 4294967296"),
        ("trainer.shuffle_buffer=0", "shuffle_buffer must be 1 or more"),
        ("trainer.label_smoothing=1", "label_smoothing must be 0 or more and below 1, got 1"),
        ("trainer.augmentation=mixup", "augmentation must be one of none, flip_rotate_zoom"),
        ("trainer.precision=float16", "precision must be one of float32"),
        ("validation.max_bad_records=-1", "max_bad_records must be 0 or more"),
        ("transform.max_pixels=0", "max_pixels must be 1 .. 2**29"),
        ("gate.top_k=0", "top_k must be 1 or more"),
        ("gate.top_k_accuracy=-0.1", "top_k_accuracy must be 0 or more"),
        ("gate.max_regression=-1", "max_regression must be 0 or more"),
        ("gate.split=train", "split must be eval or test"),
        ("serving_check.examples=0", "examples must be 1 .. 256"),
        ("serving_check.tolerance=0", "tolerance must be above 0"),
        ("pusher.keep=-1", "keep must be 0 or more"),
        ("pusher.model_name=a/b", "model_name must be letters"),
        ("pusher.model_name=..", "model_name must be letters"),
        ("optimizer.learning_rate=0", "learning_rate: expected above 0, got 0"),
        ("optimizer.learning_rate=NaN", "learning_rate: expected above 0, got nan"),
        ("gate.top_k_accuracy=NaN", "top_k_accuracy must be 0 or more, got nan"),
        ("model.patch_size=5", "image_size 32 is not a multiple of patch_size 5"),
    ],
)
def test_a_value_out_of_range_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        set_(text, base="demo")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["epochs=3", "trainer.epochs", ".epochs=3", "trainer.=3", ""])
def test_a_setting_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--set takes section\.field=value"):
        parse_settings([text])


def test_later_settings_win_and_others_stay() -> None:
    config = set_("trainer.epochs=3", "trainer.epochs=4", "trainer.seed=7", "gate.top_k = 2")
    demo = preset("demo")
    trainer = dataclasses.replace(demo.trainer, epochs=4, seed=7)
    gate = dataclasses.replace(demo.gate, top_k=2)
    assert config == dataclasses.replace(demo, trainer=trainer, gate=gate)


FLOATS = [
    f"{section}.{field}"
    for section, field in FIELDS
    if isinstance(getattr(getattr(RunConfig(), section), field), float)
]


@pytest.mark.parametrize("value", ["Infinity", "inf", "nan", "-inf", "1e999", "1" + 400 * "0"])
@pytest.mark.parametrize("name", FLOATS)
def test_infinity_and_nan_are_refused_everywhere(name: str, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        set_(f"{name}={value}")
    section, _, field = name.partition(".")
    assert section in str(caught.value)
    assert field in str(caught.value)
    assert re.search(r"got -?(inf|nan)", str(caught.value))


def test_the_largest_seed_is_taken() -> None:
    assert set_("trainer.seed=4294967295").trainer.seed == 2**32 - 1


def test_any_model_can_be_refused() -> None:
    assert set_("gate.top_k_accuracy=1.01").gate.top_k_accuracy == 1.01


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "0.001", "1.0e-3"])
def test_numbers_with_an_exponent_are_numbers(text: str, tmp_path: Path) -> None:
    assert set_(f"optimizer.learning_rate={text}").optimizer.learning_rate == 1e-3
    # YAML 1.1 takes the first of them for a text.
    (tmp_path / "c.yaml").write_text(f"optimizer:\n  learning_rate: {text}\n")
    config = from_values(read_yaml(tmp_path / "c.yaml"), preset("demo"))
    assert config.optimizer.learning_rate == 1e-3


def test_whole_numbers_are_taken_where_a_float_is_expected() -> None:
    found = set_("optimizer.clipnorm=1").optimizer.clipnorm
    assert found == 1.0
    assert isinstance(found, float)


def test_a_text_may_look_like_a_number_where_a_text_is_expected() -> None:
    assert set_('pusher.model_name="7"').pusher.model_name == "7"
    assert set_("pusher.model_name=vit-7").pusher.model_name == "vit-7"


@pytest.mark.parametrize("name", VARIANTS)
def test_naming_a_variant_takes_all_of_its_fields(name: str) -> None:
    for base in PRESETS:
        assert set_(f"model.name={name}", base=base).model == VARIANTS[name]


def test_other_fields_are_set_over_the_named_variant() -> None:
    model = set_("model.depth=5", "model.name=vit_tiny", base="seed").model
    assert model == dataclasses.replace(VARIANTS["vit_tiny"], depth=5)


def test_naming_the_present_variant_keeps_what_was_changed() -> None:
    changed = set_("model.depth=5")
    again = from_values({"model": {"name": changed.model.name}}, changed)
    assert again == changed


def test_a_model_of_ones_own_comes_back_under_its_name(tmp_path: Path) -> None:
    own = dataclasses.replace(VARIANTS["vit_tiny"], name="custom")
    config = dataclasses.replace(preset("demo"), model=own)
    (tmp_path / "c.yaml").write_text(to_yaml(config))
    assert from_values(read_yaml(tmp_path / "c.yaml"), config) == config


@pytest.mark.parametrize(
    "text", ["", "- a\n- b\n", "just text", "a: [", "trainer: 3\n", "trainer:\n", "3: {a: 1}\n"]
)
def test_a_file_that_holds_no_settings_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UsageError):
        from_values(read_yaml(tmp_path / "c.yaml"), preset("demo"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trainer: {epochs: 2026-01-01}", "trainer.epochs: expected a number, a text, true"),
        ("trainer: {epochs: !!set {a}}", "trainer.epochs: expected a number, a text, true"),
        ("trainer: {epochs: &x [*x]}", "trainer.epochs: expected a number, a text, true"),
        ("model: {name: [1]}", "model.name: Input should be a valid string, got [1]"),
        ("model: {name: {a: 1}}", "model.name: Input should be a valid string"),
        ("model: {name: null}", "model.name: Input should be a valid string, got None"),
        ("trainer: {2026-01-01: 1}", "there is no setting 'trainer.2026-01-01'"),
    ],
)
def test_a_value_that_only_yaml_knows_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UsageError) as caught:
        from_values(read_yaml(tmp_path / "c.yaml"), preset("demo"))
    assert message in str(caught.value)


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--config .*c\.yaml: .*No such file"):
        read_yaml(tmp_path / "c.yaml")
    (tmp_path / "b").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="--config"):
        read_yaml(tmp_path / "b")


def test_single_settings_lie_over_the_file_and_the_file_over_the_preset(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("trainer: {epochs: 4, seed: 9}\n")
    config = settings.resolve("seed", tmp_path / "c.yaml", ["trainer.epochs=5"], 3)
    assert (config.trainer.epochs, config.trainer.seed) == (5, 9)
    assert config.trainer.batch_size == preset("seed").trainer.batch_size
    assert config.validation.max_bad_records == 3
    with pytest.raises(UsageError, match="max_bad_records must be 0 or more"):
        settings.resolve("seed", None, [], -1)


def test_the_weights_to_start_from_are_found_from_any_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    for given, expected in (
        ("serving/vit/7", str(tmp_path / "serving/vit/7")),
        ("./a/../b.keras", str(tmp_path / "b.keras")),
        ("~/b.keras", "/home/me/b.keras"),
        ("/c/d", "/c/d"),
        ("", ""),
    ):
        config = settings.resolve("demo", None, [f'trainer.init_from="{given}"'])
        assert config.trainer.init_from == expected


def test_every_setting_has_help() -> None:
    for section in SECTIONS:
        for item in dataclasses.fields(getattr(RunConfig(), section)):
            assert item.metadata["help"], (section, item.name)
