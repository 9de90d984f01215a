"""What llama.cpp says of the packaged SmolLM2 GGUF (Q4_1), for tests/tools/smollm2_gguf_test.cpp.

    VENV/bin/python smollm2_gguf_reference.py GGUF

Writes smollm2_gguf_expected.json: of the prompts of smollm2_expected.json the greedy tokens and by how
much each logit was ahead of the second. One thread, KV f16. Needs llama-cpp-python 0.3.36 and numpy.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tools/bench"))

import gguf_compare  # noqa: E402
import llama_cpp  # noqa: E402

N_TOKENS = 64


def main():
    llama = gguf_compare.Llama(sys.argv[1], 1)
    cases = []
    for case in json.loads((HERE / "smollm2_expected.json").read_text())["cases"]:
        prompt = llama.tokenize(case["prompt_text"])
        tokens, margins = llama.greedy(prompt, N_TOKENS)
        margins = [round(margin, 4) for margin in margins]
        cases.append({"name": case["name"], "prompt_ids": prompt, "tokens": tokens, "margins": margins})
    made_with = {"llama_cpp_python": llama_cpp.__version__, "model": Path(sys.argv[1]).name}
    text = json.dumps({"made_with": made_with, "cases": cases})
    (HERE / "smollm2_gguf_expected.json").write_text(text.replace("}, {", "},\n{") + "\n")


if __name__ == "__main__":
    main()
