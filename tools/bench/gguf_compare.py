"""The same GGUF in splitd and in llama.cpp: greedy tokens, prompt by prompt. A development tool.

    VENV/bin/python gguf_compare.py --splitd build/splitd [-n 64] [--cases FILE] [--floor] [--json] M.gguf …

VENV has llama-cpp-python (scripts/bench_llama.sh). Prompts are the texts of --cases (by default those
of tests/golden/smollm2_expected.json), as each engine's own tokenizer reads them. Where the tokens
part ways, the two logits of llama.cpp's that were in question there tell how undecided it was: its
first and second, and its first and the one that splitd chose. Both engines round activations, so
figures below --margin (0.05) are a draw. Exit code 1 where a divergence was none. --floor asks
llama.cpp alone, twice: with the prompt in one batch and token by token. Rounded activations make a
difference in the last bit one of a whole step, so not even it agrees with itself: what is measured
there is the least that can be asked of another engine.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import llama_cpp as L
import numpy as np

CASES = Path(__file__).resolve().parents[2] / "tests/golden/smollm2_expected.json"


class Llama:
    """llama.cpp by its C interface, one token at a time."""

    def __init__(self, path, threads):
        L.llama_backend_init()
        self.log = L.llama_log_callback(lambda level, text, data: None)
        L.llama_log_set(self.log, None)
        params = L.llama_model_default_params()
        params.n_gpu_layers = 0
        self.model = L.llama_model_load_from_file(path.encode(), params)
        if not self.model:
            sys.exit(f"llama.cpp does not load {path}")
        params = L.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = 1024, 512, 512
        params.n_threads = params.n_threads_batch = threads
        self.context = L.llama_init_from_model(self.model, params)
        self.vocab = L.llama_model_get_vocab(self.model)
        self.n_vocab = L.llama_vocab_n_tokens(self.vocab)
        self.batch = L.llama_batch_init(512, 0, 1)

    def tokenize(self, text):
        data = text.encode()
        out = (L.llama_token * (len(data) + 8))()
        count = L.llama_tokenize(self.vocab, data, len(data), out, len(out), True, True)
        return list(out[:count])

    def start(self):
        L.llama_memory_clear(L.llama_get_memory(self.context), True)
        self.position = 0

    def logits(self, tokens):
        """Of the last of them."""
        self.batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            self.batch.token[i] = token
            self.batch.pos[i] = self.position + i
            self.batch.n_seq_id[i] = 1
            self.batch.seq_id[i][0] = 0
            self.batch.logits[i] = i + 1 == len(tokens)
        if L.llama_decode(self.context, self.batch) != 0:
            sys.exit("llama_decode failed")
        self.position += len(tokens)
        values = L.llama_get_logits_ith(self.context, -1)
        return np.ctypeslib.as_array(values, (self.n_vocab,))

    def greedy(self, prompt, n, one_by_one=False):
        self.start()
        tokens = []
        for token in prompt[:-1] if one_by_one else []:
            self.logits([token])
        logits = self.logits(prompt[-1:] if one_by_one else prompt)
        for _ in range(n):
            tokens.append(int(np.argmax(logits)))
            logits = self.logits(tokens[-1:])
        return tokens


def splitd(arguments, words, text=None):
    result = subprocess.run([arguments.splitd, *words], input=text, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(result.stderr)
    return json.loads(result.stdout)


def ours(arguments, gguf, prompt):
    words = ["run", gguf, "--ids", ",".join(map(str, prompt)), "-n", str(arguments.n), "--temperature", "0"]
    words += ["--kv", arguments.kv, "--compute", arguments.compute, "--ignore-eos", "--json"]
    return splitd(arguments, words)["ids"]


def compare(arguments, llama, gguf, text):
    """What became of one prompt."""
    prompt = llama.tokenize(text)
    if arguments.floor:
        out = {"prompt_tokens": len(prompt), "same_prompt": True}
        tokens = llama.greedy(prompt, arguments.n, one_by_one=True)
    else:
        ours_prompt = splitd(arguments, ["tokenize", gguf], text)
        out = {"prompt_tokens": len(prompt), "same_prompt": prompt == ours_prompt}
        tokens = ours(arguments, gguf, prompt)
    llama.start()
    logits = llama.logits(prompt)
    for at, token in enumerate(tokens):
        second, first = (int(i) for i in np.argpartition(logits, -2)[-2:])
        if token != first:
            out |= {"at": at, "margin": float(logits[first] - logits[second])}
            out |= {"chosen": float(logits[first] - logits[token])}
            break
        logits = llama.logits([token])
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("gguf", nargs="+")
    parser.add_argument("--splitd")
    parser.add_argument("--floor", action="store_true")
    parser.add_argument("-n", type=int, default=64)
    parser.add_argument("--cases", type=Path, default=CASES)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--margin", type=float, default=0.05)
    parser.add_argument("--kv", default="f16")
    parser.add_argument("--compute", default="auto")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not arguments.floor and arguments.splitd is None:
        parser.error("--splitd is missing (or --floor: llama.cpp beside itself)")
    cases = json.loads(arguments.cases.read_text())["cases"]
    bad = 0
    report = []
    for gguf in arguments.gguf:
        llama = Llama(gguf, arguments.threads)
        same = 0
        for case in cases:
            result = {"model": Path(gguf).name, "case": case["name"]}
            result |= compare(arguments, llama, gguf, case["prompt_text"])
            report.append(result)
            same += "at" not in result
            bad += result.get("chosen", 0) >= arguments.margin or not result["same_prompt"]
            if not arguments.json and ("at" in result or not result["same_prompt"]):
                note = "" if result["same_prompt"] else ", PROMPT DIFFERS"
                if "at" in result:
                    note += f": other token at {result['at']}, margin {result['margin']:.4f}"
                    note += f", to the one chosen {result['chosen']:.4f}"
                print(f"  {result['case']}{note}")
        if not arguments.json:
            print(f"{Path(gguf).name}: {same} of {len(cases)} prompts the same for {arguments.n} tokens", flush=True)
    if arguments.json:
        print(json.dumps(report, indent=1))
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
