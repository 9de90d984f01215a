"""splitd beside llama.cpp on the same weights, round by round, as ratios. A development tool.

    VENV/bin/python llama_bench.py --splitd build/splitd --gguf M.gguf --model M-DIRECTORY
        [--threads 1 2] [--rounds 5] [--rows 1,2,4,8,16] [--busy CPU] [--isa NAME] [--json]

VENV has llama-cpp-python, built for this machine (scripts/bench_llama.sh). splitd starts anew each
round, llama.cpp keeps the model mapped: the files are in the page cache either way. Every figure is
the median over rounds of (splitd's rate / llama.cpp's rate of the same round). --busy keeps one
core busy with a loop meanwhile; --isa is SPLITD_ISA, beside a llama.cpp built for the same.
"""

import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import time

import llama_cpp as L

N_PROMPT, N_GEN, STEP_TURNS = 512, 16, 3


class Llama:
    """llama.cpp by its C interface: no sampler, no Python between its own layers."""

    def __init__(self, path):
        L.llama_backend_init()
        self.log = L.llama_log_callback(lambda level, text, data: None)
        L.llama_log_set(self.log, None)
        params = L.llama_model_default_params()
        params.n_gpu_layers = 0
        self.model = L.llama_model_load_from_file(path.encode(), params)
        if not self.model:
            sys.exit(f"llama.cpp does not load {path}")
        params = L.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = 1024, N_PROMPT, N_PROMPT
        params.no_perf = True
        self.context = L.llama_init_from_model(self.model, params)
        self.memory = L.llama_get_memory(self.context)
        self.n_vocab = L.llama_vocab_n_tokens(L.llama_model_get_vocab(self.model))
        self.batch = L.llama_batch_init(N_PROMPT, 0, 1)
        self.count = 0

    def set_threads(self, n):
        L.llama_set_n_threads(self.context, n, n)

    def eval(self, n, position, all_logits):
        """Seconds for n tokens from position; logits of all of them or the last."""
        batch = self.batch
        batch.n_tokens = n
        for i in range(n):
            self.count += 1
            batch.token[i] = self.count * 2654435761 % self.n_vocab
            batch.pos[i] = position + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = all_logits or i + 1 == n
        start = time.perf_counter()
        if L.llama_decode(self.context, batch) != 0:
            sys.exit("llama.cpp: llama_decode failed")
        L.llama_synchronize(self.context)
        return time.perf_counter() - start

    def round(self, n_gen, n_prompt, rows):
        out = {"steps": {}}
        L.llama_memory_clear(self.memory, True)
        for position in range(2):
            self.eval(1, position, True)
        if n_gen:
            out["decode"] = n_gen / sum(self.eval(1, 2 + i, True) for i in range(n_gen))
        seconds = {k: [] for k in rows}
        for _ in range(STEP_TURNS):
            for k in rows:
                seconds[k].append(self.eval(k, 2 + n_gen, True))
                L.llama_memory_seq_rm(self.memory, 0, 2 + n_gen, -1)
        out["steps"] = {k: min(s) for k, s in seconds.items()}
        if n_prompt:
            L.llama_memory_clear(self.memory, True)
            out["prefill"] = n_prompt / self.eval(n_prompt, 0, False)
        time.sleep(0.05)  # its threads spin for a while
        return out


def splitd_round(args, threads, n_gen, n_prompt, rows):
    command = [args.splitd, "bench", args.model, "--json", "--repetitions", "1",
               "--threads", str(threads), "--n-gen", str(n_gen), "--n-prompt", str(n_prompt),
               "--rows", ",".join(map(str, rows)) or "0", "--kv", args.kv]
    environment = dict(os.environ, **({"SPLITD_ISA": args.isa} if args.isa else {}))
    result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE,
                                       env=environment).stdout)
    out = {"arith": result["arith"], "steps": {}}
    if "decode" in result:
        out["decode"] = result["decode"]["tokens_per_second"]["best"]
        out["of_read"] = result["decode"]["of_read"]["best"]
    if "prefill" in result:
        out["prefill"] = result["prefill"]["tokens_per_second"]["best"]
    out["steps"] = {s["rows"]: s["ms"]["best"] / 1e3 for s in result.get("steps", [])}
    return out


class BusyLoop:
    """A process that computes for ever on one core."""

    def __init__(self, cpu):
        self.cpu = cpu

    def __enter__(self):
        if self.cpu is not None:
            self.process = subprocess.Popen(["taskset", "-c", str(self.cpu), sys.executable, "-c",
                                             "while True: pass"])

    def __exit__(self, *_):
        if self.cpu is not None:
            self.process.kill()
            self.process.wait()


def say(args, line):
    print(line, file=sys.stderr if args.json else sys.stdout, flush=True)


def ratio(ours, theirs, key):
    return statistics.median(a[key] / b[key] for a, b in zip(ours, theirs))


def report(args, threads, ours, theirs, rows):
    def median(rounds, key):
        return statistics.median(r[key] for r in rounds)

    def cost(rounds, k):
        return statistics.median(r["steps"][k] / r["steps"][1] for r in rounds)

    out = {"threads": threads, "arith": ours[0]["arith"]}
    busy = ", beside a busy loop" if args.busy is not None else ""
    say(args, f"{threads} thread(s), {ours[0]['arith']}{busy}")
    for key in ("decode", "prefill"):
        if key not in ours[0]:
            continue
        out[key] = {"splitd": median(ours, key), "llama.cpp": median(theirs, key),
                    "ratio": ratio(ours, theirs, key)}
        say(args, f"  {key:8} {out[key]['splitd']:9.2f} tok/s, llama.cpp"
            f" {out[key]['llama.cpp']:9.2f}: {out[key]['ratio']:.2f} times")
        if key == "decode":
            out["of_read"] = median(ours, "of_read")
            say(args, f"           {100 * out['of_read']:.0f} % of the streaming read")
    out["steps"] = {}
    for k in rows:
        out["steps"][k] = {"splitd": cost(ours, k), "llama.cpp": cost(theirs, k)}
        if k > 1:
            say(args, f"  {k:3} rows cost {out['steps'][k]['splitd']:.2f} times one,"
                f" llama.cpp's {out['steps'][k]['llama.cpp']:.2f}")
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splitd", required=True)
    parser.add_argument("--gguf", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--n-gen", type=int, default=N_GEN)
    parser.add_argument("--n-prompt", type=int, default=N_PROMPT)
    parser.add_argument("--rows", default="1,2,4,8,16")
    parser.add_argument("--kv", default="f16")
    parser.add_argument("--busy", type=int)
    parser.add_argument("--isa")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    rows = [int(k) for k in args.rows.split(",") if int(k) > 0]
    llama = Llama(args.gguf)
    results = []
    with BusyLoop(args.busy):
        for threads in args.threads:
            llama.set_threads(threads)
            llama.round(2, min(args.n_prompt, 64), [])  # touches everything
            ours, theirs = [], []
            for _ in range(args.rounds):
                theirs.append(llama.round(args.n_gen, args.n_prompt, rows))
                ours.append(splitd_round(args, threads, args.n_gen, args.n_prompt, rows))
            results.append(report(args, threads, ours, theirs, rows))
    if args.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
