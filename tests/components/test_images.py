"""Pillow is the independent reference of what an image looks like."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from components import image_problems, images
from components.settings import MAX_PIXELS

RNG = np.random.default_rng(0)
RGBA = Image.fromarray(RNG.integers(0, 256, (30, 40, 4), np.uint8))
RGB = RGBA.convert("RGB")
GRAY = RGBA.convert("L")


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def decode_default(encoded: tf.Tensor) -> tf.Tensor:
    return images.decode_image(encoded)


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
def decode_batch(encoded: tf.Tensor) -> images.Decoded:
    return images.decode_resized(encoded, 8)


def decode(data: bytes) -> np.ndarray:
    return decode_default(tf.constant(data)).numpy()


def reference(data: bytes) -> np.ndarray:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        image = white
    return np.asarray(image.convert("RGB"))


def exif(orientation: int, order: str, tags_before: int = 0) -> bytes:
    """A TIFF block of short tags, the last of them the orientation."""
    entries = [(0x0100 + index, 7) for index in range(tags_before)] + [(0x0112, orientation)]
    block = struct.pack(f"{order}H", len(entries))
    for tag, value in entries:
        block += struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return b"Exif\0\0" + mark + struct.pack(f"{order}I", 8) + block + bytes(4)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, pixels: bytes = b"", *, depth: int = 8, color: int = 2) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


KINDS = {
    "rgb": encode(RGB),
    "gray": encode(GRAY),
    "gray of 1 bit": encode(RGBA.convert("1")),
    "gray and alpha": encode(RGBA.convert("LA")),
    "rgb and alpha": encode(RGBA),
    "palette of 8 bits": encode(RGB.quantize(256)),
    "palette of 4 bits": encode(RGB.quantize(16)),
    "palette of 2 bits": encode(RGB.quantize(4)),
    "palette of 1 bit": encode(RGB.quantize(2)),
    "palette with alpha": encode(RGB.quantize(200), transparency=bytes(range(200))),
    "small palette with alpha": encode(RGB.quantize(16), transparency=bytes([0, 100, 15, 3])),
    "rgb with a colour key": encode(RGB, transparency=RGB.getpixel((3, 3))),
    "gray with a colour key": encode(GRAY, transparency=GRAY.getpixel((3, 3))),
    "1 bit with a colour key": encode(RGBA.convert("1"), transparency=0),
    "compressed hard": encode(RGB, compress_level=9),
    "baseline JPEG": encode(RGB, "JPEG"),
    "progressive JPEG": encode(RGB, "JPEG", progressive=True),
    "gray JPEG": encode(GRAY, "JPEG"),
    "JPEG of full chroma": encode(RGB, "JPEG", subsampling=0, quality=95),
    "JPEG with a comment and profile": encode(
        RGB, "JPEG", comment=b"\xff\xc0 no frame" * 9, icc_profile=bytes(150_000)
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_image_decodes_as_pillow_decodes_it(kind: str) -> None:
    data = KINDS[kind]
    np.testing.assert_array_equal(decode(data), reference(data))
    assert image_problems.find_problems([data]) == [None]


@pytest.mark.parametrize("color", [0, 2, 4, 6])
def test_16_bits_are_reduced_to_their_high_8(color: int) -> None:
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[color]
    wide = RNG.integers(0, 2**16, (5, 7, channels)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in wide)
    narrow = (wide >> 8).astype(np.uint8)
    modes = {0: "L", 2: "RGB", 4: "LA", 6: "RGBA"}
    same = encode(Image.fromarray(narrow.squeeze(), modes[color]))
    np.testing.assert_array_equal(decode(png(7, 5, rows, depth=16, color=color)), reference(same))


def test_an_interlaced_png_decodes(tmp_path: Path) -> None:
    # One pixel: all seven passes but the first are empty.
    data = bytearray(png(1, 1, b"\0\x10\x20\x30"))
    data[28] = 1
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    np.testing.assert_array_equal(decode(bytes(data)), [[[0x10, 0x20, 0x30]]])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int, order: str) -> None:
    data = encode(RGB, "JPEG", exif=exif(orientation, order, tags_before=3))
    np.testing.assert_array_equal(decode(data), reference(data))
    assert decode(data).shape == ((40, 30, 3) if orientation >= 5 else (30, 40, 3))


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        exif(0, "<"),
        exif(9, ">"),
        exif(6, "<")[:-14],
        exif(6, "<").replace(b"II*\0", b"IX*\0"),
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\x00\x00\x00\x00\x01\x12\x00\x03",
        exif(6, "<").replace(struct.pack("<HHI", 0x112, 3, 1), struct.pack("<HHI", 0x112, 7, 1)),
    ],
)
def test_malformed_exif_means_upright(block: bytes) -> None:
    plain = encode(RGB, "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(block)) + block
    np.testing.assert_array_equal(decode(plain[:2] + segment + plain[2:]), decode(plain))


def test_orientation_outside_of_its_segment_is_not_read() -> None:
    block = exif(6, "<")
    head, tail = block[:16], block[16:]
    comment = b"\xff\xfe" + struct.pack(">H", 2 + len(tail)) + tail
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(head)) + head
    plain = encode(RGB, "JPEG")
    assert decode(plain[:2] + segment + comment + plain[2:]).shape == (30, 40, 3)


REFUSED = {
    "no bytes": (b"", "not a PNG or JPEG (no bytes)"),
    "GIF": (encode(RGB, "GIF"), "not a PNG or JPEG (starts with 47494638)"),
    "BMP": (encode(RGB, "BMP"), "not a PNG or JPEG (starts with 424d"),
    "WebP": (encode(RGB, "WEBP"), "not a PNG or JPEG (starts with 52494646)"),
    "CMYK": (encode(RGB.convert("CMYK"), "JPEG"), "CMYK JPEG; convert it to RGB"),
    "signature only": (b"\x89PNG\r\n\x1a\n", "header is broken"),
    "JPEG mark only": (b"\xff\xd8\xff", "header is broken"),
    "PNG without header": (b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", b""), "header is broken"),
    "scan before frame": (b"\xff\xd8\xff\xda\0\x08" + bytes(20), "header is broken"),
    "segments without end": (b"\xff\xd8" + b"\xff\xe5\0\x02" * 5000, "header is broken"),
    "no width": (png(0, 3), "no pixels (0 x 3)"),
    "no height": (
        encode(RGB, "JPEG").replace(struct.pack(">HH", 30, 40), struct.pack(">HH", 0, 40), 1),
        "no pixels (40 x 0)",
    ),
    "PNG bomb": (png(60_000, 60_000), "60000 x 60000 pixels, more than the 16777216 allowed"),
    "overflowing PNG": (png(2**32 - 1, 2**32 - 1), "4294967295 x 4294967295 pixels"),
    "JPEG bomb": (
        encode(RGB, "JPEG", progressive=True).replace(
            struct.pack(">HH", 30, 40), struct.pack(">HH", 65500, 65500), 1
        ),
        "65500 x 65500 pixels",
    ),
    "scan bomb": (encode(RGB, "JPEG") + b"\xff\xda\0\x08" * 101, "more than 100 scans"),
    "PNG cut off": (encode(RGB)[:200], "cannot be decoded: Invalid PNG data"),
    "JPEG cut off": (encode(RGB, "JPEG")[:-9], "cannot be decoded: Invalid JPEG data"),
    "no pixel data": (png(4, 4), "cannot be decoded"),
    "wrong checksum": (encode(RGB)[:60] + b"\0" + encode(RGB)[61:], "cannot be decoded"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_everything_else_is_refused_with_its_reason(kind: str) -> None:
    data, reason = REFUSED[kind]
    (problem,) = image_problems.find_problems([data])
    assert problem is not None
    assert reason in problem
    assert "\n" not in problem
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(data)
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_batch(tf.constant([KINDS["rgb"], data]))


def test_problems_are_told_image_by_image() -> None:
    batch = [KINDS["rgb"], REFUSED["PNG cut off"][0], KINDS["gray JPEG"], b"GIF89a"]
    problems = image_problems.find_problems(batch)
    assert [problem is None for problem in problems] == [True, False, True, False]
    assert image_problems.find_problems([]) == []


def test_equal_pixels_are_told_whatever_their_bytes() -> None:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(KINDS["rgb"])) as image:
        image.save(buffer, "PNG", compress_level=0)
    batch = [KINDS["rgb"], KINDS["gray JPEG"], buffer.getvalue()]
    for inspected in (
        image_problems.inspect(batch),
        image_problems.inspect([*batch, REFUSED["PNG cut off"][0]])[:3],  # one by one
        [image_problems.inspect([one])[0] for one in batch],
    ):
        assert [found.problem for found in inspected] == [None] * 3
        assert inspected[0].pixels == inspected[2].pixels != inspected[1].pixels
    (refused,) = image_problems.inspect([b"GIF89a"])
    assert refused.pixels == b""


def test_the_limit_of_pixels_is_inclusive() -> None:
    assert image_problems.find_problems([KINDS["rgb"]], max_pixels=1200) == [None]
    (problem,) = image_problems.find_problems([KINDS["rgb"]], max_pixels=1199)
    assert problem == "40 x 30 pixels, more than the 1199 allowed"
    with pytest.raises(ValueError, match="max_pixels must be 1 or more"):
        images.decode_image(tf.constant(KINDS["rgb"]), max_pixels=0)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 20])
def test_plain_pngs_of_the_right_size_are_kept_exactly(count: int) -> None:
    pixels = RNG.integers(0, 256, (count, 16, 16, 3), np.uint8)
    encoded = tf.constant([encode(Image.fromarray(one)) for one in pixels], tf.string)
    decoded = images.decode_resized(encoded, 16)
    np.testing.assert_array_equal(decoded.images, pixels)
    wide = pixels.astype(np.float64)
    np.testing.assert_allclose(decoded.channel_mean, wide.mean((1, 2)), rtol=1e-14)
    np.testing.assert_allclose(decoded.channel_mean_of_squares, (wide**2).mean((1, 2)), rtol=1e-14)


@pytest.mark.parametrize("size", [20, 30, 72])
@pytest.mark.parametrize("count", [1, 8, 19])
def test_both_ways_of_decoding_a_batch_agree(count: int, size: int) -> None:
    pixels = RNG.integers(0, 256, (count, 30, 40 if size == 72 else 30, 3), np.uint8)
    plain = [encode(Image.fromarray(one)) for one in pixels]
    alone = images.decode_resized(tf.constant(plain), size)
    mixed = images.decode_resized(tf.constant([*plain, KINDS["rgb and alpha"]]), size)
    np.testing.assert_array_equal(alone.images, mixed.images[:-1])
    for one, other in zip(alone[1:], mixed[1:], strict=True):
        np.testing.assert_allclose(one, other[:-1], rtol=1e-14)


@pytest.mark.parametrize("sides", [(181, 182), (182, 182), (2, 16384)])
def test_moments_are_exact_around_the_limit_of_small_images(sides: tuple[int, int]) -> None:
    white = encode(Image.new("RGB", sides, "white"))
    decoded = images.decode_resized(tf.constant([white]), 8)
    np.testing.assert_array_equal(decoded.channel_mean_of_squares, np.full((1, 3), 255.0**2))


@pytest.mark.parametrize("kind", ["rgb and alpha", "gray", "progressive JPEG"])
def test_moments_are_those_of_the_pixels_before_resizing(kind: str) -> None:
    decoded = decode_batch(tf.constant([KINDS[kind]]))
    wide = reference(KINDS[kind]).astype(np.float64)
    np.testing.assert_allclose(decoded.channel_mean[0], wide.mean((0, 1)), rtol=1e-12)
    np.testing.assert_allclose(decoded.channel_mean_of_squares[0], (wide**2).mean((0, 1)))


@pytest.mark.parametrize("size", [8, 35, 64])
def test_resizing_is_bilinear_as_in_pillow(size: int) -> None:
    # Pillow antialiases too; it rounds to whole values after each of its two passes.
    resized = images.decode_resized(tf.constant([KINDS["rgb"]]), size).images[0]
    expected = np.asarray(RGB.resize((size, size), Image.Resampling.BILINEAR), np.float32)
    np.testing.assert_allclose(resized, expected, atol=1.01)


def test_shapes_are_known_when_a_graph_is_built() -> None:
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def graph(encoded: tf.Tensor) -> images.Decoded:
        return images.decode_resized(encoded, 24)

    decoded = graph.get_concrete_function().structured_outputs
    assert decoded.images.shape.as_list() == [None, 24, 24, 3]
    assert decoded.channel_mean.shape.as_list() == [None, 3]
    assert decoded.channel_mean_of_squares.dtype == tf.float64


def test_the_checks_hold_in_a_tf_data_pipeline() -> None:
    dataset = tf.data.Dataset.from_tensor_slices([KINDS["rgb"], REFUSED["PNG bomb"][0]])
    decoded = iter(dataset.map(images.decode_image))
    assert next(decoded).shape == (30, 40, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="more pixels than allowed"):
        next(decoded)


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    class Decoder(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def serve(self, encoded: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"images": images.decode_resized(encoded, 16, max_pixels=2000).images}

    folder = str(tmp_path_factory.mktemp("model"))
    module = Decoder()
    tf.saved_model.save(module, folder, {"serving_default": module.serve})
    return folder


def serve_as_tf1(folder: str, encoded: list[bytes]) -> np.ndarray:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        model = tf.compat.v1.saved_model.load(session, ["serve"], folder)
        signature = model.signature_def["serving_default"]
        return session.run(
            signature.outputs["images"].name, {signature.inputs["encoded"].name: encoded}
        )


def test_an_exported_model_decodes_what_we_decode(saved_model: str) -> None:
    batch = [
        KINDS["rgb"],
        KINDS["small palette with alpha"],
        KINDS["progressive JPEG"],
        encode(RGB, "JPEG", exif=exif(6, "<")),
    ]
    served = serve_as_tf1(saved_model, batch)
    expected = images.decode_resized(tf.constant(batch), 16).images
    np.testing.assert_allclose(served, expected, atol=1e-4)
    plain = [encode(RGB.resize((16, 16)))] * 9
    np.testing.assert_array_equal(serve_as_tf1(saved_model, plain)[8], reference(plain[8]))
    assert serve_as_tf1(saved_model, []).shape == (0, 16, 16, 3)


@pytest.mark.parametrize("kind", REFUSED)
def test_an_exported_model_refuses_what_we_refuse(saved_model: str, kind: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        serve_as_tf1(saved_model, [REFUSED[kind][0]])


def test_an_exported_model_names_the_reason(saved_model: str) -> None:
    large = encode(RGB.resize((50, 41)))
    with pytest.raises(tf.errors.InvalidArgumentError, match="more pixels than allowed"):
        serve_as_tf1(saved_model, [KINDS["rgb"], large])


def consistent(data: bytes) -> None:
    """Refused with a reason, or decoded within the limit; nothing else."""
    (problem,) = image_problems.find_problems([data])
    if problem is None:
        height, width, channels = decode(data).shape
        assert channels == 3
        assert 0 < height * width <= MAX_PIXELS
    else:
        with pytest.raises(tf.errors.InvalidArgumentError):
            decode(data)


PREFIXES = [
    b"",
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR",
    b"\xff\xd8\xff\xe1\0\x40Exif\0\0II*\0\x08\0\0\0",
    b"\xff\xd8\xff\xc0\0\x11\x08",
]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(PREFIXES), st.binary(max_size=120))
def test_random_bytes_are_refused_or_decoded(prefix: bytes, rest: bytes) -> None:
    consistent(prefix + rest)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([*KINDS.values(), encode(RGB, "JPEG", exif=exif(6, ">"))]),
    st.lists(st.tuples(st.integers(0, 80), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, 400),
)
def test_mutated_headers_are_refused_or_decoded(
    data: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    mutated = bytearray(data)
    for position, value in changes:
        mutated[position % len(mutated)] = value
    consistent(bytes(mutated[: len(mutated) - cut]))
