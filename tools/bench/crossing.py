"""Every decoder against plain decoding, one process a combination. A development tool.

    python3 crossing.py --splitd build/splitd --model M --draft-model D --log F.jsonl
        [--proxy build/tests/lab/wan_proxy] [--modes run,local,cut,killed] [--only REGEX] [-n 48]
        [--seconds S] [--list]

decoders × {greedy, T = 0.8 with three seeds} × {default dtypes, f32 throughout} × prompts × modes:
`run`; `local` beside one `cloud`; `cut`, the same through a proxy with a round trip of 2, 20 or
80 ms that resets all connections every few hundred milliseconds from the first on; and `killed`,
where it is the cloud that is killed and started again every second or so. The ids must be those of --decoder sequential of
the same settings (at f32: of `run`, as splitting changes nothing there; else of `local`), no more
than -n of them, exit code 0. Combinations are called MODE/DTYPES/SAMPLING/PROMPT/DECODER; --only
takes those that match. The log has one result a line; a later call with the same log and the same
binary runs what is missing. Exit code 1 when anything differed, failed or was not reached.
"""

import argparse
import collections
import hashlib
import itertools
import json
import random
import re
import shlex
import signal
import subprocess
import sys
import threading
import time

PROMPTS = {
    "code": "Write a Python function that adds two numbers, then call it three times.",
    "copy": "Copy this line twice: the quick brown fox jumps over the lazy dog; the lazy dog "
            "sleeps in the sun while the quick brown fox runs away.",
    "chat": "My sister moves to Lisbon in May. What should I ask her before I visit?",
}
DECODERS = ["sequential", "jacobi", "lookahead", "prompt-lookup", "suffix", "recycle", "draft",
            "early-exit", "auto"]
SAMPLING = {"greedy": ["--temperature", "0"]}
SAMPLING |= {f"seed{s}": ["--temperature", "0.8", "--seed", str(s)] for s in (1, 2, 3)}
DTYPES = {"default": [], "f32": ["--compute", "f32", "--kv", "f32"]}
MODES = ["run", "local", "cut", "killed"]
LIMIT_S = 300  # of one process


def combinations(modes):
    """Plain decoding before what is compared with it."""
    for dtypes, sampling, prompt in itertools.product(DTYPES, SAMPLING, PROMPTS):
        for mode, decoder in itertools.product(modes, DECODERS):
            yield mode, dtypes, sampling, prompt, decoder


def reference(combination):
    mode, dtypes, sampling, prompt, _ = combination
    if mode != "run":
        mode = "run" if dtypes == "f32" else "local"
    return mode, dtypes, sampling, prompt, "sequential"


class Server:
    """A process that says where it listens. Ends with the block."""

    def __init__(self, words):
        self.process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        self.address = None
        for line in self.process.stderr:
            if found := re.search(r"listening on (\S+)", line):
                self.address = found[1]
                break
        if self.address is None:
            sys.exit(f"{shlex.join(words)}: does not listen")
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


class Crossing:
    def __init__(self, args):
        self.args = args
        with open(args.splitd, "rb") as file:
            self.build = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        self.results = {}
        self.cloud = None
        try:
            with open(args.log) as log:
                for line in log:
                    result = json.loads(line)
                    if (result["build"], result["n"]) == (self.build, args.n):
                        self.results[tuple(result["of"])] = result
        except FileNotFoundError:
            pass

    def words(self, combination, body):
        mode, dtypes, sampling, prompt, decoder = combination
        words = [self.args.splitd, "run" if mode == "run" else "local", self.args.model]
        if mode != "run":
            words += ["--insecure", "--body", body, "--head", "2", "--tail", "2"]
            words += ["--wire", "f32"] if dtypes == "f32" else []
        words += ["--decoder", decoder]
        words += ["--draft-model", self.args.draft_model] if decoder == "draft" else []
        words += ["-n", str(self.args.n), "--threads", "1", "--json", "--quiet"]
        return words + SAMPLING[sampling] + DTYPES[dtypes] + [PROMPTS[prompt]]

    def cutting_proxy(self, combination, target):
        """Its link and cuts are the combination's own, so that a difference can be had again."""
        chance = random.Random("/".join(combination))
        words = [self.args.proxy, "--target", target, "--rtt", chance.choice(["2ms", "20ms", "80ms"])]
        at = 0
        while at < 60_000:
            at += chance.randrange(100, 700)
            words += ["--reset", f"{at}ms"]
        return Server(words)

    def start_cloud(self, listen="127.0.0.1:0"):
        return Server([self.args.splitd, "cloud", self.args.model, "--insecure", "--listen", listen,
                       "--threads", "1", "--idle-timeout", "30s"])

    def body(self):
        if self.cloud is None:
            self.cloud = self.start_cloud()
        return self.cloud.address

    def run_killing(self, combination):
        """Behind a proxy, so that a body that is away for a moment is a connection that breaks."""
        chance = random.Random("/".join(combination))
        over = threading.Event()

        def kill_again_and_again(cloud):
            while not over.wait(chance.uniform(0.3, 1.5)):
                cloud.process.kill()
                cloud.process.wait()
                cloud = self.start_cloud(cloud.address)
            cloud.__exit__()

        cloud = self.start_cloud()
        killer = threading.Thread(target=kill_again_and_again, args=(cloud,))
        with Server([self.args.proxy, "--target", cloud.address, "--rtt", "40ms"]) as proxy:
            killer.start()
            try:
                self.run_at(combination, proxy.address)
            finally:
                over.set()
                killer.join()

    def run(self, combination):
        if combination[0] == "killed":
            return self.run_killing(combination)
        if combination[0] == "cut":
            with self.cutting_proxy(combination, self.body()) as proxy:
                return self.run_at(combination, proxy.address)
        return self.run_at(combination, None if combination[0] == "run" else self.body())

    def run_at(self, combination, address):
        words = self.words(combination, address)
        start = time.monotonic()
        result = {"of": combination, "build": self.build, "n": self.args.n,
                  "words": shlex.join(words)}
        try:
            ended = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            result |= {"exit": "hangs"}
        else:
            result |= {"exit": ended.returncode, "err": ended.stderr[-1000:]}
            if ended.returncode == 0:
                answer = json.loads(ended.stdout)
                result |= {key: answer.get(key)
                           for key in ("ids", "finish_reason", "speculation", "network")}
        result["seconds"] = round(time.monotonic() - start, 2)
        self.results[combination] = result
        with open(self.args.log, "a") as log:
            log.write(json.dumps(result) + "\n")

    def verdict(self, combination):
        """None where all is well."""
        got, plain = self.results[combination], self.results.get(reference(combination))
        if got["exit"] != 0:
            return f"exit {got['exit']}"
        if len(got["ids"]) > self.args.n:
            return f"{len(got['ids'])} tokens"
        if plain is None or plain["exit"] != 0:
            return "plain decoding failed"
        pairs = itertools.zip_longest(got["ids"], plain["ids"])
        for i, (mine, other) in enumerate(pairs):
            if mine != other:
                return f"differs: token {i} is {mine}, not {other}"
        if got["finish_reason"] != plain["finish_reason"]:
            return f"differs: finish_reason {got['finish_reason']}"
        return None

    def report(self, wanted):
        table = collections.defaultdict(collections.Counter)
        bad = 0
        for combination in wanted:
            row = table["/".join(combination[:2])]
            if combination not in self.results:
                row["not run"] += 1
                bad += 1
                continue
            result, verdict = self.results[combination], self.verdict(combination)
            row["run"] += 1
            good = "plain" if combination == reference(combination) else "identical"
            row[good if verdict is None else verdict.split(":")[0]] += 1
            row["reconnects"] += ((result.get("network") or {}).get("reconnects") or 0)
            if verdict is not None:
                bad += 1
                print(f"{'/'.join(combination)}: {verdict}\n    {result['words']}\n"
                      f"    {result.get('err', '').strip()}")
        for name, row in table.items():
            print(f"{name:16}" + "  ".join(f"{key} {n}" for key, n in row.items()))
        return 1 if bad else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--splitd", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--draft-model", required=True)
    parser.add_argument("--proxy")
    parser.add_argument("--log", required=True)
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--only", default="", type=re.compile)
    parser.add_argument("-n", type=int, default=48)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--list", action="store_true", help="only what the log has")
    args = parser.parse_args()
    modes = args.modes.split(",")
    if unknown := set(modes) - set(MODES):
        parser.error(f"--modes {unknown.pop()}: there are {', '.join(MODES)}")
    if {"cut", "killed"} & set(modes) and args.proxy is None:
        parser.error("--modes cut and killed need --proxy")
    for end in (signal.SIGINT, signal.SIGTERM):  # in the background, too
        signal.signal(end, signal.default_int_handler)
    crossing = Crossing(args)
    wanted = [c for c in combinations(modes) if args.only.search("/".join(c))]
    end = time.monotonic() + args.seconds
    try:
        for combination in [] if args.list else wanted:
            for needed in (reference(combination), combination):
                if needed not in crossing.results and time.monotonic() < end:
                    crossing.run(needed)
                    shown = crossing.verdict(needed) or "identical"
                    print(f"{'/'.join(needed)}: {shown}", file=sys.stderr)
    except KeyboardInterrupt:
        pass
    finally:
        if crossing.cloud is not None:
            crossing.cloud.__exit__()
    return crossing.report(wanted)


if __name__ == "__main__":
    sys.exit(main())
