"""Checks that a release is plain data: ONNX, safetensors, arrays of numbers, Parquet and JSON; nothing runs when read.

A pickle under any name is code. So a release may hold files of the known kinds only, each beginning as its kind does;
that is checked before it is signed and again before it is served.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from artifacts.manifest import Manifest
from contracts.errors import Tampered

#: No JSON file of a release is larger than this.
JSON_LIMIT_BYTES = 64 << 20


def check(manifest: Manifest, directory: Path) -> None:
    """Raise Tampered, naming the file, unless every file of a release is plain data. No byte of it is executed."""
    for entry in manifest.files:
        path = directory / entry.path
        if (problem := _problem(path)) is not None:
            raise Tampered(
                f"{entry.path} of {manifest.kind} {manifest.digest[:12]} {problem}",
                remedy="a release holds ONNX, safetensors, NumPy arrays, Parquet and JSON only",
            )


def _problem(path: Path) -> str | None:
    """Say why a file is not plain data, or None."""
    with path.open("rb") as file:
        head = file.read(16)
        if path.suffix == ".npy":
            return _array_problem(path)
        if path.suffix == ".safetensors":
            length = int.from_bytes(head[:8], "little")
            fine = len(head) > 8 and head[8:9] == b"{" and length <= path.stat().st_size - 8
            return None if fine else "is no safetensors file"
        if path.suffix == ".onnx":
            return None if head[:1] == b"\x08" else "is no ONNX program"  # field 1 of a model: its version
        if path.suffix == ".parquet":
            return None if head[:4] == b"PAR1" else "is no Parquet file"
        if path.suffix == ".json":
            return _json_problem(path)
    return "is of a kind that a release may not hold"


def _array_problem(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            _, _, dtype = read(file)
    except (ValueError, OSError, SyntaxError):
        return "is no NumPy array"
    return "holds Python objects" if dtype.hasobject else None


def _json_problem(path: Path) -> str | None:
    if path.stat().st_size > JSON_LIMIT_BYTES:
        return f"is JSON of more than {JSON_LIMIT_BYTES >> 20} MB"
    try:
        json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return "is no JSON"
    return None
