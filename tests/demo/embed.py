#!/usr/bin/env python3
"""A job in Python: sentence embeddings of all-MiniLM-L6-v2, by numpy alone.

    embed.py --sealed model.safetensors.sealed --asset minilm --home HOME --out sealed.npy
    embed.py --plain model.safetensors --out plain.npy
    embed.py --compare sealed.npy plain.npy

With `--sealed` the weights are opened in protected memory, and are zero when the job ends.
"""

import argparse
import math
import pathlib
import re
import sys

import numpy as np
import tokenizers

SENTENCES = [
    "The key is given only to a machine that proved what it is.",
    "Secrets are handed to attested hardware alone.",
    "A cat sleeps in the afternoon sun.",
    "The kitten naps on a warm windowsill.",
]
HEADS = 12
LAYERS = 6


class MiniLM:
    """A BERT encoder over weights by name; none of them is copied."""

    def __init__(self, weights):
        self.weights = weights

    def embed(self, ids, mask):
        """Token ids and mask, both (sentences, tokens), to embeddings of length 1, (sentences, 384)."""
        w = self.weights
        states = w["embeddings.word_embeddings.weight"][ids]
        states = states + w["embeddings.position_embeddings.weight"][: ids.shape[1]]
        states = self.normalised(states + w["embeddings.token_type_embeddings.weight"][0], "embeddings")
        for layer in range(LAYERS):
            states = self.layer(states, mask, f"encoder.layer.{layer}")
        weight = mask[:, :, None].astype(np.float32)
        mean = (states * weight).sum(1) / weight.sum(1)
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)

    def layer(self, states, mask, name):
        attended = self.dense(self.attention(states, mask, f"{name}.attention.self"), f"{name}.attention.output.dense")
        states = self.normalised(states + attended, f"{name}.attention.output")
        inner = gelu(self.dense(states, f"{name}.intermediate.dense"))
        return self.normalised(states + self.dense(inner, f"{name}.output.dense"), f"{name}.output")

    def attention(self, states, mask, name):
        sentences, tokens, width = states.shape

        def heads(which):
            return self.dense(states, f"{name}.{which}").reshape(sentences, tokens, HEADS, -1).transpose(0, 2, 1, 3)

        query, key, value = heads("query"), heads("key"), heads("value")
        scores = query @ key.transpose(0, 1, 3, 2) / np.float32(math.sqrt(width // HEADS))
        scores = np.where(mask[:, None, None, :], scores, np.float32(-1e9))
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        return (scores @ value).transpose(0, 2, 1, 3).reshape(sentences, tokens, width)

    def dense(self, states, name):
        return states @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def normalised(self, states, name):
        centred = states - states.mean(-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + np.float32(1e-12))
        return centred / deviation * self.weights[f"{name}.LayerNorm.weight"] + self.weights[f"{name}.LayerNorm.bias"]


def gelu(x):
    erf = np.frompyfunc(math.erf, 1, 1)
    return x * (erf(x / np.float32(math.sqrt(2))).astype(np.float32) + 1) / 2


def tokenise(vocabulary):
    tokenizer = tokenizers.Tokenizer.from_file(vocabulary)
    tokenizer.enable_padding(length=None)
    encoded = tokenizer.encode_batch(SENTENCES)
    ids = np.array([sentence.ids for sentence in encoded])
    return ids, np.array([sentence.attention_mask for sentence in encoded], bool)


def resident():
    """Bytes that this process has to itself: anonymous and shared memory."""
    status = pathlib.Path("/proc/self/status").read_text()
    return sum(int(kib) for kib in re.findall(r"^Rss(?:Anon|Shmem):\s+(\d+) kB", status, re.MULTILINE)) << 10


def from_sealed(arguments, ids, mask):
    import strongroom

    room = strongroom.connect(home=arguments.home)
    before = resident()
    with room.load_safetensors(arguments.sealed, asset=arguments.asset) as weights:
        grown = resident() - before
        print(f"opened {len(weights)} tensors, {weights.nbytes} bytes, in protected memory; memory grew by {grown} bytes")
        embeddings = MiniLM(weights).embed(ids, mask)
        held = weights["embeddings.word_embeddings.weight"]
    print("after the lease the weights are", "zero" if not held.any() else "STILL THERE")
    return embeddings


def from_plain(arguments, ids, mask):
    from safetensors.numpy import load_file

    return MiniLM(load_file(arguments.plain)).embed(ids, mask)


def compare(one, other):
    difference = np.abs(np.load(one) - np.load(other)).max()
    if not difference <= 1e-6:
        sys.exit(f"the embeddings differ by {difference}")
    print(f"the embeddings equal those from the plaintext weights (largest difference {difference:.1e})")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sealed")
    parser.add_argument("--asset")
    parser.add_argument("--home")
    parser.add_argument("--plain")
    parser.add_argument("--tokenizer", default="tokenizer.json")
    parser.add_argument("--out")
    parser.add_argument("--compare", nargs=2)
    arguments = parser.parse_args()
    if arguments.compare:
        return compare(*arguments.compare)
    ids, mask = tokenise(arguments.tokenizer)
    embeddings = from_sealed(arguments, ids, mask) if arguments.sealed else from_plain(arguments, ids, mask)
    np.save(arguments.out, embeddings)
    print("cosine similarity:")
    for sentence, row in zip(SENTENCES, embeddings @ embeddings.T):
        print("  " + " ".join(f"{value:6.3f}" for value in row) + f"  {sentence}")


if __name__ == "__main__":
    main()
