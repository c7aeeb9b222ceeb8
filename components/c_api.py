"""A SavedModel behind TensorFlow's C API, by ctypes on the library inside the wheel.

`TF_LoadSessionFromSavedModel` is the C face of the C++ function that TF Serving loads
models with. One string input and one float output are all that is needed here. TensorFlow's
Python side is not imported: a process that needs only this starts at once.
Source: tensorflow/c/c_api.h and tensorflow/c/tf_tstring.h.
"""

import ctypes
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np

_FLOAT, _STRING = 1, 7
_STRING_BYTES = 24  # sizeof(TF_TString)
_POINTER = ctypes.c_void_p


class Output(NamedTuple):
    """One result of one operation of a graph."""

    operation: str
    position: int

    @classmethod
    def parse(cls, tensor: str) -> "Output":
        """From a tensor's name, as in `serving_default_images:0`."""
        operation, _, position = tensor.partition(":")
        return cls(operation, int(position or 0))


class _TFOutput(ctypes.Structure):
    _fields_ = [("operation", _POINTER), ("index", ctypes.c_int)]


def _library() -> ctypes.CDLL:
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or spec.origin is None:
        raise RuntimeError("TensorFlow is not installed")
    library = ctypes.CDLL(str(Path(spec.origin).with_name("libtensorflow_cc.so.2")))
    for name in (
        "NewStatus",
        "NewGraph",
        "NewSessionOptions",
        "LoadSessionFromSavedModel",
        "GraphOperationByName",
        "AllocateTensor",
        "TensorData",
    ):
        getattr(library, f"TF_{name}").restype = _POINTER
    library.TF_Message.restype = ctypes.c_char_p
    library.TF_Dim.restype = ctypes.c_int64
    return library


class Session:
    """A loaded SavedModel; a context manager.

    Raises:
        RuntimeError: what the library says when it cannot load or run the model.
    """

    def __init__(self, directory: str) -> None:
        self._tf = _library()
        self._status = _POINTER(self._tf.TF_NewStatus())
        self._graph = _POINTER(self._tf.TF_NewGraph())
        options = _POINTER(self._tf.TF_NewSessionOptions())
        tags = (ctypes.c_char_p * 1)(b"serve")
        self._session = _POINTER(
            self._tf.TF_LoadSessionFromSavedModel(
                options, None, directory.encode(), tags, 1, self._graph, None, self._status
            )
        )
        self._tf.TF_DeleteSessionOptions(options)
        self._check()

    def run(self, source: Output, values: Sequence[bytes], result: Output) -> np.ndarray:
        """Feeds (B,) byte strings, returns a float32 array."""
        tensor = self._strings(values)
        fed, fetched = (_TFOutput * 1)(self._find(source)), (_TFOutput * 1)(self._find(result))
        inputs, outputs = (_POINTER * 1)(tensor), (_POINTER * 1)()
        self._tf.TF_SessionRun(
            self._session, None, fed, inputs, 1, fetched, outputs, 1, None, 0, None, self._status
        )
        self._tf.TF_DeleteTensor(_POINTER(tensor))
        self._check()
        return self._floats(_POINTER(outputs[0]))

    def _strings(self, values: Sequence[bytes]) -> int:
        dims = (ctypes.c_int64 * 1)(len(values))
        tensor: int = self._tf.TF_AllocateTensor(
            _STRING, dims, 1, ctypes.c_size_t(len(values) * _STRING_BYTES)
        )
        data = self._tf.TF_TensorData(_POINTER(tensor))
        for position, value in enumerate(values):
            place = _POINTER(data + position * _STRING_BYTES)
            self._tf.TF_StringInit(place)
            self._tf.TF_StringCopy(place, value, ctypes.c_size_t(len(value)))
        return tensor

    def _floats(self, tensor: ctypes.c_void_p) -> np.ndarray:
        if self._tf.TF_TensorType(tensor) != _FLOAT:
            raise RuntimeError("expected a float32 output")
        shape = [self._tf.TF_Dim(tensor, axis) for axis in range(self._tf.TF_NumDims(tensor))]
        data = self._tf.TF_TensorData(tensor)
        values = np.ctypeslib.as_array(ctypes.cast(data, ctypes.POINTER(ctypes.c_float)), shape)
        copied = values.copy()
        self._tf.TF_DeleteTensor(tensor)
        return copied

    def _find(self, output: Output) -> _TFOutput:
        found = self._tf.TF_GraphOperationByName(self._graph, output.operation.encode())
        if not found:
            raise RuntimeError(f"the graph has no operation {output.operation!r}")
        return _TFOutput(found, output.position)

    def _check(self) -> None:
        if self._tf.TF_GetCode(self._status):
            raise RuntimeError(self._tf.TF_Message(self._status).decode("utf-8", "replace"))

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tf.TF_CloseSession(self._session, self._status)
        self._tf.TF_DeleteSession(self._session, self._status)
        self._tf.TF_DeleteGraph(self._graph)
        self._tf.TF_DeleteStatus(self._status)
