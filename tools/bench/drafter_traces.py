#!/usr/bin/env python3
"""Texts for drafter_bench: what a model writes, with the likeliest followers of every row.

usage: drafter_traces.py SPLITD MODEL PROMPTS.json TEMPERATURE > traces.jsonl

PROMPTS.json is {"kind of text": ["prompt", …], …}. Needs numpy.
"""
import json
import struct
import subprocess
import sys
import tempfile

import numpy as np

N_TOKEN, N_TOP = 240, 8


def call(*args, stdin=None):
    return subprocess.run(args, input=stdin, capture_output=True, text=True, check=True).stdout


def logits_of(path):
    with open(path, "rb") as file:
        n_header = struct.unpack("<Q", file.read(8))[0]
        tensor = json.loads(file.read(n_header))["logits"]
        begin, end = tensor["data_offsets"]
        file.seek(8 + n_header + begin)
        return np.frombuffer(file.read(end - begin), np.float32).reshape(tensor["shape"])


def trace(splitd, model, kind, prompt, temperature):
    messages = {"messages": [{"role": "user", "content": prompt}], "add_generation_prompt": True}
    text = call(splitd, "template", model, stdin=json.dumps(messages))
    ids = json.loads(call(splitd, "tokenize", model, "--no-special", stdin=text))
    answer = json.loads(call(
        splitd, "run", model, "--ids", ",".join(map(str, ids)), "-n", str(N_TOKEN), "--json",
        "--quiet", "--decoder", "sequential", "--temperature", temperature, "--seed", "7"))["ids"]
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        call(splitd, "dump", model, "--ids", ",".join(map(str, ids + answer)), "--out", file.name)
        logits = logits_of(file.name)[len(ids) - 1:].astype(np.float64)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    top = np.argsort(-shares, axis=1, kind="stable")[:, :N_TOP]
    p = np.take_along_axis(shares, top, 1)
    return {"type": kind, "temperature": float(temperature), "n_vocab": logits.shape[1],
            "prompt": ids, "ids": answer, "top": top.tolist(), "p": p.round(5).tolist()}


def main():
    splitd, model, prompts, temperature = sys.argv[1:]
    with open(prompts, encoding="utf-8") as file:
        kinds = json.load(file)
    for kind, texts in kinds.items():
        for text in texts:
            print(json.dumps(trace(splitd, model, kind, text, temperature)), flush=True)


main()
