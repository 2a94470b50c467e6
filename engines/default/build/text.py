"""all-MiniLM-L6-v2 (Apache-2.0) in NumPy: sentences -> unit vectors of 384, in float64 so that the result repeats."""

import math
import re
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

DIMENSION, _HEADS, _LAYERS, _EPSILON = 384, 12, 6, 1e-12
_erf = np.vectorize(math.erf, otypes=[np.float64])


class TextEncoder:
    """The sentence encoder: BERT of six layers, mean over tokens, unit length."""

    def __init__(self, weights: Path, vocabulary: Path):
        self._w = {name: array.astype(np.float64) for name, array in load_file(weights).items() if array.dtype.kind == "f"}
        self._ids = {word: i for i, word in enumerate(vocabulary.read_text(encoding="utf-8").splitlines())}

    def __call__(self, sentences: list[str]) -> np.ndarray:
        """[n, 384], rows of unit length."""
        return np.stack([self._encode(sentence) for sentence in sentences])

    def tokens(self, sentence: str) -> list[int]:
        """WordPiece ids of a plain English sentence, with [CLS] and [SEP]."""
        pieces = ["[CLS]"]
        for word in re.findall(r"[a-z0-9]+|[^\sa-z0-9]", sentence.lower()):
            pieces += self._pieces(word)
        return [self._ids[piece] for piece in pieces + ["[SEP]"]]

    def _pieces(self, word: str) -> list[str]:
        pieces, start = [], 0
        while start < len(word):
            prefix = "##" if start else ""
            ends = (end for end in range(len(word), start, -1) if prefix + word[start:end] in self._ids)
            end = next(ends, None)
            if end is None:
                return ["[UNK]"]
            pieces.append(prefix + word[start:end])
            start = end
        return pieces

    def _encode(self, sentence: str) -> np.ndarray:
        ids, w = self.tokens(sentence), self._w
        x = (w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][:len(ids)]
             + w["embeddings.token_type_embeddings.weight"][0])
        x = self._norm(x, "embeddings.LayerNorm")
        for layer in range(_LAYERS):
            x = self._layer(x, f"encoder.layer.{layer}.")
        mean = x.mean(axis=0)
        return mean / np.linalg.norm(mean)

    def _layer(self, x: np.ndarray, key: str) -> np.ndarray:
        def heads(name):
            return self._linear(x, key + "attention.self." + name).reshape(len(x), _HEADS, -1).transpose(1, 0, 2)

        query, keys, values = heads("query"), heads("key"), heads("value")
        score = query @ keys.transpose(0, 2, 1) / math.sqrt(query.shape[-1])
        share = np.exp(score - score.max(axis=-1, keepdims=True))
        share /= share.sum(axis=-1, keepdims=True)
        attended = (share @ values).transpose(1, 0, 2).reshape(len(x), -1)
        x = self._norm(x + self._linear(attended, key + "attention.output.dense"), key + "attention.output.LayerNorm")
        wide = self._linear(x, key + "intermediate.dense")
        wide = 0.5 * wide * (1.0 + _erf(wide / math.sqrt(2.0)))  # GELU
        return self._norm(x + self._linear(wide, key + "output.dense"), key + "output.LayerNorm")

    def _linear(self, x: np.ndarray, key: str) -> np.ndarray:
        return x @ self._w[key + ".weight"].T + self._w[key + ".bias"]

    def _norm(self, x: np.ndarray, key: str) -> np.ndarray:
        x = x - x.mean(axis=-1, keepdims=True)
        return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + _EPSILON) * self._w[key + ".weight"] + self._w[key + ".bias"]


def self_check(encoder: TextEncoder) -> None:
    """The similarities that the model's own page gives for its example sentences."""
    a, *others = encoder(["That is a happy person", "That is a happy dog", "That is a very happy person", "Today is a sunny day"])
    for other, expected in zip(others, (0.695, 0.943, 0.257)):
        if abs(a @ other - expected) > 0.002:
            raise SystemExit(f"text encoder: similarity {a @ other:.3f}, expected {expected}")


if __name__ == "__main__":
    import fetch
    cache = fetch.fetch()
    self_check(TextEncoder(cache / "minilm.safetensors", cache / "minilm_vocab.txt"))
    print("text encoder: similarities as published")
