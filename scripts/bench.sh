#!/usr/bin/env bash
# Every benchmark beside its peer or the machine's own limit, in one run: these machines are noisy,
# so only ratios count. Peers come from PyPI into build/bench.
set -euo pipefail
cd "$(dirname "$0")/.."

cmake --preset release -DSPLITD_BENCH=ON >/dev/null
cmake --build --preset release
venv=build/bench/venv
if [ ! -x "$venv/bin/python" ]; then
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check tokenizers==0.23.3
fi

echo "== tokenizers: MB/s, one thread, beside the tokenizers package"
status=0
"$venv/bin/python" tools/bench/tokenizer_bench.py build/tokenizer_bench \
  build/test_data/tokenizers/* || status=$?
for threads in 1 2; do
  echo "== matrix products, $threads thread(s): GB/s of weights and GFLOP/s beside the streaming read"
  build/kernels_bench --threads "$threads"
done
if [ -x build/rows_bench ]; then
  echo "== row kernels and attention"
  build/rows_bench
fi
if [ -x build/cuda_bench ]; then
  echo "== CUDA: steps and prompts on models of known shapes, beside the card's peak"
  build/cuda_bench
fi
exit "$status"
