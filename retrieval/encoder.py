"""Encodes sentences as unit vectors, with ONNX Runtime and `tokenizers` alone.

The folder is what `training.models.text.export_encoder` writes:

    model.onnx       input_ids, attention_mask int64 [B, T] -> vectors float32 [B, D], pooled and normalised
    query.onnx       the same in eight bits: for single queries, at half the time
    tokenizer.json   the tokenizer
    config.json      name, dimension, max_length, SHA-256 of the other files
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from contracts.errors import UnreadableFile

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

MODEL = "model.onnx"
QUERY_MODEL = "query.onnx"
TOKENIZER = "tokenizer.json"
CONFIG = "config.json"
#: Tokens per batch at which a core is busiest: more of them fall out of its cache (docs/search.md).
BATCH_TOKENS = 256
#: Texts tokenized at a time, so that memory stays bounded.
BLOCK = 16_384


class TextEncoder:
    """One loaded sentence encoder. Safe to call from several threads."""

    def __init__(self, session: InferenceSession, tokenizer: Tokenizer, config: dict[str, Any]) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self.config = config
        self.dimension = int(config["dimension"])
        self.max_length = int(config["max_length"])

    @classmethod
    def load(
        cls, directory: Path, threads: int = 1, *, program: str = MODEL, max_length: int | None = None
    ) -> TextEncoder:
        """Open the encoder in `directory`, run on `threads` threads. Longer texts are cut at `max_length` tokens.

        `program` QUERY_MODEL is for queries, one text at a time: in a batch its vectors depend on the other texts.
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
                str(directory / program), sess_options=options, providers=["CPUExecutionProvider"]
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
        self, texts: Sequence[str], batch: int = 64, *, progress: Callable[[int], object] | None = None
    ) -> NDArray[np.float32]:
        """Return unit vectors float32 [n, D], in the order of `texts`. `progress` gets how many more texts are done.

        Batches are of like length, so that hardly any padding is computed, and hold at most `batch` texts. A text's
        vector does not depend on the others, except for the last bit of a number.
        """
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for start in range(0, len(texts), BLOCK):
            encoded = self._tokenizer.encode_batch_fast(list(texts[start : start + BLOCK]))
            rows = [encoding.ids for encoding in encoded]
            for chosen in _batches([len(row) for row in rows], batch):
                vectors[start + chosen] = self._run([rows[i] for i in chosen])
                if progress is not None:
                    progress(len(chosen))
        return vectors

    def broken(self, text: str) -> float:
        """Return into how many pieces per character `text` is broken: a word is in the vocabulary, a code is not."""
        pieces = self._tokenizer.encode(text, add_special_tokens=False)
        return len(pieces.ids) / max(1, sum(not letter.isspace() for letter in text))

    def _run(self, rows: list[list[int]]) -> NDArray[np.float32]:
        """Return vectors [B, D] of token rows, which are padded on the right here."""
        lengths = np.array([len(row) for row in rows])
        attention = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
        ids = np.zeros(attention.shape, dtype=np.int64)
        ids[attention.astype(bool)] = np.concatenate(rows)
        (vectors,) = self._session.run(["vectors"], {"input_ids": ids, "attention_mask": attention})
        return np.asarray(vectors, dtype=np.float32)


def _batches(lengths: list[int], most: int) -> Iterator[NDArray[np.int64]]:
    """Group positions by like length: at most `most` of them and about BATCH_TOKENS tokens, shortest first."""
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and end - start < most and lengths[order[end]] * (end - start + 1) <= BATCH_TOKENS:
            end += 1
        yield order[start:end]
        start = end
