#!/usr/bin/env python3
"""MB/s of splitd's tokenizer beside the `tokenizers` Python package, in one run.

Both encode the same 512 KiB texts in turn, on one thread; a figure is the best of --rounds, in the
CPU time of the thread or process that does the work. The package keeps its word cache from round to
round, we start empty each time. Ends with 1 where we are behind or the ids differ.

    python3 -m venv venv && venv/bin/pip install tokenizers==0.23.3
    venv/bin/python tools/bench/tokenizer_bench.py build/tokenizer_bench build/test_data/tokenizers/*
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

BYTES = 512 << 10
SOURCES = Path(__file__).resolve().parent.parent.parent


def repeated(text):
    data = text.encode()
    return (data * (BYTES // len(data) + 1))[:BYTES]


def texts():
    """Name and bytes: hard runs, random bytes, code, and prose in many scripts."""
    import json

    golden = json.loads((SOURCES / "tests/golden/inputs/tokenizer_texts.json").read_text())["texts"]
    document = next(item["text"] for item in golden if item["name"] == "document_4k")
    code = "".join(path.read_text() for path in sorted((SOURCES / "runtime").rglob("*.cpp")))
    return {
        "a": repeated("a"), "_": repeated("_"), "space": repeated(" "), "newline": repeated("\n"),
        "cjk": repeated("\u4e2d"), "random": random.Random(1).randbytes(BYTES), "document": repeated(document),
        "mixed": repeated("\n".join(item["text"] for item in golden)), "code": repeated(code),
    }


class Ours:
    def __init__(self, program, tokenizer):
        self.process = subprocess.Popen([program, tokenizer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.load_ms = float(self.process.stdout.readline().split()[0])

    def encode(self, path):
        """Milliseconds and the number of ids."""
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        elapsed, count = self.process.stdout.readline().split()
        return float(elapsed), int(count)


class Theirs:
    def __init__(self, tokenizer):
        from tokenizers import Tokenizer

        begin = time.process_time()
        self.tokenizer = Tokenizer.from_file(str(Path(tokenizer) / "tokenizer.json"))
        self.load_ms = (time.process_time() - begin) * 1e3

    def encode(self, path):
        text = Path(path).read_bytes().decode(errors="replace")
        begin = time.process_time()
        ids = self.tokenizer.encode(text).ids
        return (time.process_time() - begin) * 1e3, len(ids)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", help="the tokenizer_bench that was built")
    parser.add_argument("tokenizers", nargs="+", help="directories with tokenizer.json")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    behind = 0
    print(f"{'tokenizer':<14}{'text':<10}{'ours MB/s':>10}{'theirs':>9}{'ratio':>8}")
    with tempfile.TemporaryDirectory() as directory:
        paths = {}
        for name, data in texts().items():
            paths[name] = Path(directory) / f"text_{len(paths)}"
            paths[name].write_bytes(data)
        for tokenizer in arguments.tokenizers:
            label = Path(tokenizer).name
            ours, theirs = Ours(arguments.program, tokenizer), Theirs(tokenizer)
            print(f"{label:<14}{'load, ms':<10}{ours.load_ms:>10.0f}{theirs.load_ms:>9.0f}{theirs.load_ms / ours.load_ms:>7.1f}x")
            for name, path in paths.items():
                pairs = [(ours.encode(path), theirs.encode(path)) for _ in range(arguments.rounds)]
                our_ms, their_ms = min(pair[0][0] for pair in pairs), min(pair[1][0] for pair in pairs)
                same = pairs[0][0][1] == pairs[0][1][1]
                wrong = "" if same else "  DIFFERENT IDS"
                late = "" if our_ms < their_ms else "  BEHIND"
                behind += bool(wrong or late)
                rate = lambda elapsed: BYTES / elapsed / 1e3
                print(f"{label:<14}{name:<10}{rate(our_ms):>10.1f}{rate(their_ms):>9.2f}{their_ms / our_ms:>7.1f}x{late}{wrong}", flush=True)
            ours.process.stdin.close()
    print("ahead on each" if behind == 0 else f"behind or different on {behind}")
    return 1 if behind else 0


if __name__ == "__main__":
    sys.exit(main())
