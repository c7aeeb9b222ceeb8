"""Loads a SavedModel the way TF Serving does and answers requests; a program of its own.

    python -m components.replay DIRECTORY tf1|c_api REQUESTS.npz REPLIES.npz

REQUESTS holds, for each signature, the names of its input and output tensors and the byte
strings to feed, as plain arrays: nothing is unpickled. REPLIES holds the probabilities by
signature. On failure the last line of stderr says why, and the exit code is 1.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from components import c_api


class Request(NamedTuple):
    """What to ask of one signature, by the names of its tensors."""

    source: str
    result: str
    inputs: Sequence[bytes]


Requests = dict[str, Request]
Replies = dict[str, np.ndarray]


def pack(requests: Mapping[str, Request]) -> dict[str, np.ndarray]:
    """Requests by signature as plain arrays."""
    arrays = {}
    for signature, request in requests.items():
        arrays[f"{signature}.names"] = np.array([request.source, request.result])
        arrays[f"{signature}.bytes"] = np.frombuffer(b"".join(request.inputs), np.uint8)
        arrays[f"{signature}.lengths"] = np.array([len(v) for v in request.inputs], np.int64)
    return arrays


def unpack(arrays: Mapping[str, np.ndarray]) -> Requests:
    """The inverse of `pack`."""
    requests = {}
    for signature in (name.removesuffix(".names") for name in arrays if name.endswith(".names")):
        whole, sizes = arrays[f"{signature}.bytes"].tobytes(), arrays[f"{signature}.lengths"]
        ends = np.cumsum(sizes)
        inputs = [whole[end - size : end] for end, size in zip(ends, sizes, strict=True)]
        source, result = map(str, arrays[f"{signature}.names"])
        requests[signature] = Request(source, result, inputs)
    return requests


def ask_tf1(directory: str, requests: Requests) -> Replies:
    """Through TensorFlow 1's loader: a graph and a session."""
    import tensorflow as tf

    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        tf.compat.v1.saved_model.loader.load(session, ["serve"], directory)
        return {
            signature: session.run(request.result, {request.source: list(request.inputs)})
            for signature, request in requests.items()
        }


def ask_c_api(directory: str, requests: Requests) -> Replies:
    """Through the C API: the very call of TF Serving's loader."""
    parse = c_api.Output.parse
    with c_api.Session(directory) as session:
        return {
            signature: session.run(parse(request.source), request.inputs, parse(request.result))
            for signature, request in requests.items()
        }


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
