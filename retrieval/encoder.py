"""Sentences to unit vectors, through ONNX Runtime and `tokenizers` alone.

The folder is what `training.models.text.export_encoder` writes:

    model.onnx       input_ids, attention_mask int64 [B, T] -> vectors float32 [B, D], pooled and normalised
    tokenizer.json   the tokenizer
    config.json      name, dimension, max_length, SHA-256 of the two files
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from contracts.errors import UnreadableFile

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

MODEL = "model.onnx"
TOKENIZER = "tokenizer.json"
CONFIG = "config.json"


class TextEncoder:
    """One loaded sentence encoder. Safe to call from several threads."""

    def __init__(self, session: InferenceSession, tokenizer: Tokenizer, config: dict[str, Any]) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self.config = config
        self.dimension = int(config["dimension"])
        self.max_length = int(config["max_length"])

    @classmethod
    def load(cls, directory: Path, threads: int = 1, *, max_length: int | None = None) -> TextEncoder:
        """The encoder in `directory`, run on `threads` threads. Longer texts are cut at `max_length` tokens.

        Raises UnreadableFile.
        """
        import onnxruntime
        from tokenizers import Tokenizer

        try:
            config = json.loads((directory / CONFIG).read_text())
            tokenizer = Tokenizer.from_file(str(directory / TOKENIZER))
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            options.inter_op_num_threads = 1
            options.log_severity_level = 3
            session = onnxruntime.InferenceSession(
                str(directory / MODEL), sess_options=options, providers=["CPUExecutionProvider"]
            )
            encoder = cls(session, tokenizer, config)
        except Exception as error:  # tokenizers and ONNX Runtime raise bare Exceptions of their own
            raise UnreadableFile(
                f"the encoder in {directory} is not usable: {error}",
                remedy="export it again with training.models.text.export_encoder",
            ) from error
        encoder.max_length = max_length or encoder.max_length
        tokenizer.enable_truncation(encoder.max_length)
        tokenizer.no_padding()
        return encoder

    def encode(
        self, texts: Sequence[str], batch: int = 32, *, progress: Callable[[int], object] | None = None
    ) -> NDArray[np.float32]:
        """Unit vectors float32 [n, D], in the order of `texts`. `progress` hears how many more texts are done.

        Texts run in batches of like length, so that hardly any padding is computed.
        """
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        encoded = self._tokenizer.encode_batch_fast(list(texts))
        rows = [encoding.ids for encoding in encoded]
        order = np.argsort([len(row) for row in rows], kind="stable")
        for start in range(0, len(rows), batch):
            chosen = order[start : start + batch]
            vectors[chosen] = self._run([rows[i] for i in chosen])
            if progress is not None:
                progress(len(chosen))
        return vectors

    def _run(self, rows: list[list[int]]) -> NDArray[np.float32]:
        """Vectors [B, D] of token rows, padded on the right."""
        lengths = np.array([len(row) for row in rows])
        attention = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
        ids = np.zeros(attention.shape, dtype=np.int64)
        ids[attention.astype(bool)] = np.concatenate(rows)
        (vectors,) = self._session.run(["vectors"], {"input_ids": ids, "attention_mask": attention})
        return np.asarray(vectors, dtype=np.float32)
