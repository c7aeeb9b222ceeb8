"""A user's own images: one folder a class, JPEG or PNG of any size, kept as they are.

Two passes: the first looks at every file, the second writes. Neither holds more than a
few images.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.contract import EVAL, TEST, TRAIN
from components.errors import DataError
from components.settings import MAX_PIXELS
from pipeline.capture import quiet_stderr
from pipeline.data import output
from pipeline.data.listing import Candidate, Listing, list_images
from pipeline.data.options import FolderConfig
from pipeline.data.records import Record

_LARGEST_FILE = 2**27
_BATCH_IMAGES = 256
_BATCH_BYTES = 2**24


@dataclass(frozen=True)
class Image:
    """A file that passed."""

    candidate: Candidate
    sha256: str
    pixels: bytes  # equal for equal pixels, however they are compressed


@dataclass
class Findings:
    """What the first pass saw, for the report to the user."""

    class_names: tuple[str, ...]
    images: list[Image] = field(default_factory=list)
    bad: dict[str, str] = field(default_factory=dict)  # name to reason
    ignored: list[str] = field(default_factory=list)
    copies: dict[str, str] = field(default_factory=dict)  # name to the file of its class it copies


def prepare(config: FolderConfig, source: Path, target: Path) -> tuple[dict[str, Any], Findings]:
    """Writes a folder of images as a data set; returns its manifest and what was seen.

    Raises:
        UsageError: if the source is no folder, or the output holds something else.
        DataError: for bad files without `skip_bad`, and classes with too few images.
    """
    findings = inspect(list_images(source), config.max_pixels)
    if findings.bad and not config.skip_bad:
        raise DataError(
            f"{counted(findings.bad)} in {source}; repair or remove them, or leave them "
            f"out with --skip-bad\n{listed(findings.bad)}"
        )
    splits = split(findings, config)
    input_digest = output.fingerprint(
        "folder",
        classes=findings.class_names,
        splits={
            name: [(image.candidate.name, image.sha256) for image in images]
            for name, images in splits.items()
        },
    )
    made = output.already_made(target, input_digest)
    if made is not None:
        return made | {"untouched": True}, findings
    records = {name: _records(images) for name, images in splits.items()}
    with output.staging(target) as folder:
        prepared = output.Prepared(findings.class_names, records)
        return output.write(folder, "folder", input_digest, prepared), findings


def counted(bad: dict[str, str]) -> str:
    """How many files are bad."""
    return f"{len(bad)} bad file{'' if len(bad) == 1 else 's'}"


def listed(bad: dict[str, str]) -> str:
    """A line a file, all of them: whoever has to mend them needs each name."""
    return "\n".join(f"  {name}: {reason}" for name, reason in sorted(bad.items()))


def inspect(listing: Listing, max_pixels: int = MAX_PIXELS) -> Findings:
    """Decodes every file once, and finds files of the same pixels."""
    findings = Findings(listing.class_names, bad=listing.bad, ignored=listing.ignored)
    # TensorFlow tells of missing GPUs and its decoders of every damaged file; we do by name.
    with quiet_stderr():
        for batch in _batches(listing.candidates, findings.bad):
            _inspect_batch(batch, findings, max_pixels)
    _find_copies(findings)
    return findings


def _batches(
    candidates: Iterable[Candidate], bad: dict[str, str]
) -> Iterator[list[tuple[Candidate, bytes]]]:
    batch: list[tuple[Candidate, bytes]] = []
    size = 0
    for candidate in candidates:
        try:
            data = _read(candidate.path)
        except OSError as error:
            bad[candidate.name] = f"cannot be read: {error.strerror}"
            continue
        except ValueError as error:
            bad[candidate.name] = f"cannot be read: {error}"
            continue
        batch.append((candidate, data))
        size += len(data)
        if len(batch) == _BATCH_IMAGES or size > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(_LARGEST_FILE + 1)
    if len(data) > _LARGEST_FILE:
        raise ValueError(f"more than {_LARGEST_FILE} bytes")
    return data


def _inspect_batch(
    batch: list[tuple[Candidate, bytes]], findings: Findings, max_pixels: int
) -> None:
    # TensorFlow takes seconds to import, and argument errors come before.
    from components import image_problems

    inspected = image_problems.inspect([data for _, data in batch], max_pixels)
    for (candidate, data), (problem, pixels) in zip(batch, inspected, strict=True):
        if problem is None:
            findings.images.append(Image(candidate, hashlib.sha256(data).hexdigest(), pixels))
        else:
            findings.bad[candidate.name] = problem


def _find_copies(findings: Findings) -> None:
    groups: dict[bytes, list[Image]] = defaultdict(list)
    for image in findings.images:
        groups[image.pixels].append(image)
    for group in groups.values():
        if len({image.candidate.label for image in group}) > 1:
            names = [image.candidate.name for image in group]
            for name in names:
                others = ", ".join(other for other in names if other != name)
                findings.bad[name] = f"the same image is in another class: {others}"
        else:
            first = group[0].candidate.name
            findings.copies |= {image.candidate.name: first for image in group[1:]}
    findings.images = [
        image for image in findings.images if image.candidate.name not in findings.bad
    ]


def split(findings: Findings, config: FolderConfig) -> dict[str, list[Image]]:
    """Deals the images of each class to the splits by the hash of their content.

    Images of the same pixels go together, so no split knows an image of another. A further
    image moves few others. Within a split the order is that of the hashes, which mixes the
    classes.

    Raises:
        DataError: naming the classes with too few different images.
    """
    contents: dict[int, set[str]] = {label: set() for label in range(len(findings.class_names))}
    firsts = _first_digests(findings.images)
    for image in findings.images:
        contents[image.candidate.label].add(firsts[image.pixels])
    few = [
        f"{findings.class_names[label]} ({len(digests)})"
        for label, digests in contents.items()
        if len(digests) < config.min_per_class
    ]
    if few:
        raise DataError(
            f"too few different images, at least {config.min_per_class} are needed, in: "
            f"{', '.join(few)}; add images, or set --min-per-class"
        )
    place: dict[str, str] = {}
    for digests in contents.values():
        place |= _deal(sorted(digests), config)
    dealt: dict[str, list[Image]] = {name: [] for name in (TRAIN, EVAL, TEST)}
    for image in sorted(findings.images, key=lambda one: (one.sha256, one.candidate.name)):
        dealt[place[firsts[image.pixels]]].append(image)
    return dealt


def _first_digests(images: Iterable[Image]) -> dict[bytes, str]:
    """For each content the first hash among the files that hold it."""
    firsts: dict[bytes, str] = {}
    for image in images:
        firsts[image.pixels] = min(image.sha256, firsts.get(image.pixels, image.sha256))
    return firsts


def _deal(digests: list[str], config: FolderConfig) -> dict[str, str]:
    for_eval = max(1, round(config.eval_fraction * len(digests)))
    for_test = max(1, round(config.test_fraction * len(digests)))
    names = [EVAL] * for_eval + [TEST] * for_test
    names += [TRAIN] * (len(digests) - len(names))
    return dict(zip(digests, names, strict=True))


def _records(images: Iterable[Image]) -> Iterator[Record]:
    for image in images:
        data = _read(image.candidate.path)
        if hashlib.sha256(data).hexdigest() != image.sha256:
            raise DataError(f"{image.candidate.name} changed while it was read; run again")
        yield Record(image.candidate.name, data, image.candidate.label)


def small_classes(manifest: dict[str, Any], least: int) -> list[str]:
    """Classes with fewer training images than `least`, each with its number."""
    counts = Counter(dict(enumerate(manifest["splits"][TRAIN]["per_class"])))
    names = manifest["classes"]
    return [f"{names[label]} ({count})" for label, count in counts.items() if count < least]
