"""Exports a network as an ONNX program: no pickle, no traces of this machine, the same bytes for the same network."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from contracts.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx
    import torch

OPSET = 20


def program_of(
    network: torch.nn.Module, example: tuple[torch.Tensor, ...], *, dynamic_shapes: tuple[dict[int, Any], ...],
    inputs: Sequence[str], outputs: Sequence[str],
) -> onnx.ModelProto:  # fmt: skip
    """Export `network`, called with tensors like `example`, whose free dimensions are `dynamic_shapes`.

    Raises TrainingError when the exporter gives nothing.
    """
    import torch

    with torch.no_grad(), _quiet():
        exported = torch.onnx.export(
            network,
            example,
            dynamo=True,
            dynamic_shapes=dynamic_shapes,
            input_names=inputs,
            output_names=outputs,
            opset_version=OPSET,
            verbose=False,
        )
    if exported is None:
        raise TrainingError("the exporter returned no program", remedy="install the pinned torch and onnxscript")
    return _bare(exported.model_proto)


@contextmanager
def _quiet() -> Iterator[None]:
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    registration.setLevel(logging.ERROR)  # it warns that torchvision is absent, which is as it should be
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's own deprecations; parity is what we check
            yield
    finally:
        registration.setLevel(level)


def _bare(program: onnx.ModelProto) -> onnx.ModelProto:
    """Remove the exporter's notes from `program`: stack traces and paths of the machine that exported it."""
    graph = program.graph
    for part in (program, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return program
