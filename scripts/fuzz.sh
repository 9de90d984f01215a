#!/usr/bin/env bash
# Builds the libFuzzer targets and runs each for FUZZ_SECONDS, JOBS at a time. What a run discovers
# is kept under build-fuzz/corpus; crashing inputs land in build-fuzz/crashes and fail the script.
# usage: fuzz.sh [target …]
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${FUZZ_SECONDS:-60}
jobs=${JOBS:-2}
cmake --preset fuzz >/dev/null
if [ $# -gt 0 ]; then targets=("$@"); else
  mapfile -t targets < <(basename -a tests/fuzz/*_fuzz.cpp | sed 's/_fuzz\.cpp$//')
fi
cmake --build --preset fuzz -j "$jobs" --target "${targets[@]/#/fuzz_}"
mkdir -p build-fuzz/crashes build-fuzz/logs

run_one() {
  local name=$1 seconds=$2 binary
  binary=$(find build-fuzz -type f -name "fuzz_$1" -perm -u+x | head -1)
  [ -n "$binary" ] || { echo "fuzz: no target '$name'" >&2; return 1; }
  mkdir -p "build-fuzz/corpus/$name"
  if "$binary" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=4096 -max_len=65536 \
      -artifact_prefix="build-fuzz/crashes/$name-" -print_final_stats=1 \
      "build-fuzz/corpus/$name" "tests/fuzz/corpus/$name" >"build-fuzz/logs/$name.log" 2>&1; then
    echo "fuzz: $name clean, $(sed -n 's/^stat::number_of_executed_units: *//p' "build-fuzz/logs/$name.log") runs"
  else
    echo "fuzz: $name FAILED"; tail -40 "build-fuzz/logs/$name.log"; return 1
  fi
}
export -f run_one
printf '%s\n' "${targets[@]}" | xargs -P "$jobs" -I{} bash -c 'run_one "$@"' _ {} "$seconds"
