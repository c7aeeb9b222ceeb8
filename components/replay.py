"""Loads a SavedModel the way TF Serving does and answers requests; a program of its own.

    python -m components.replay DIRECTORY tf1|c_api REQUESTS.npz REPLIES.npz

REQUESTS holds, for each signature, byte strings as two plain arrays: nothing is unpickled.
REPLIES holds the probabilities by signature. On failure the last line of stderr says why
and the exit code is 1.
"""

import sys
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from components import c_api

PROBABILITIES = "probabilities"
# Each signature has one input.
INPUT_KEYS = {"serving_default": "examples", "serve_images": "images"}
Requests = dict[str, list[bytes]]
Replies = dict[str, np.ndarray]


def pack(requests: Mapping[str, Sequence[bytes]]) -> dict[str, np.ndarray]:
    """Byte strings by signature as plain arrays."""
    arrays = {}
    for signature, values in requests.items():
        arrays[f"{signature}.bytes"] = np.frombuffer(b"".join(values), np.uint8)
        arrays[f"{signature}.lengths"] = np.array([len(value) for value in values], np.int64)
    return arrays


def unpack(arrays: Mapping[str, np.ndarray]) -> Requests:
    """The inverse of `pack`."""
    requests = {}
    for signature in (name.removesuffix(".bytes") for name in arrays if name.endswith(".bytes")):
        whole, sizes = arrays[f"{signature}.bytes"].tobytes(), arrays[f"{signature}.lengths"]
        ends = np.cumsum(sizes)
        requests[signature] = [
            whole[end - size : end] for end, size in zip(ends, sizes, strict=True)
        ]
    return requests


def ask_tf1(directory: str, requests: Requests) -> Replies:
    """Through TensorFlow 1's loader: a graph and a session."""
    import tensorflow as tf

    replies = {}
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        loaded = tf.compat.v1.saved_model.loader.load(session, ["serve"], directory)
        for signature, inputs in requests.items():
            entry = loaded.signature_def[signature]
            source = entry.inputs[INPUT_KEYS[signature]].name
            replies[signature] = session.run(entry.outputs[PROBABILITIES].name, {source: inputs})
    return replies


def ask_c_api(directory: str, requests: Requests) -> Replies:
    """Through the C API: the very call of TF Serving's loader."""
    replies = {}
    with c_api.Session(directory) as session:
        for signature, inputs in requests.items():
            entry = c_api.read_signature(directory, signature)
            source = entry.inputs[INPUT_KEYS[signature]]
            replies[signature] = session.run(source, inputs, entry.outputs[PROBABILITIES])
    return replies


LOADERS: dict[str, Callable[[str, Requests], Replies]] = {"tf1": ask_tf1, "c_api": ask_c_api}


def main(directory: str, loader: str, requests: str, replies: str) -> int:
    """Answers the requests; returns the exit code."""
    with np.load(requests) as arrays:
        inputs = unpack(dict(arrays))
    try:
        np.savez(replies, allow_pickle=False, **LOADERS[loader](directory, inputs))
    except Exception as error:  # a program's edge: whatever happened is the answer
        print(f"{type(error).__name__}: {' '.join(str(error).split())}"[:2000], file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
