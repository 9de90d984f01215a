#!/usr/bin/env bash
# Every header compiles on its own, and says #pragma once.
set -euo pipefail
cd "$(dirname "$0")/.."

check_one() {
  grep -q '^#pragma once' "$1" || { echo "$1: no #pragma once"; return 1; }
  echo "#include \"$1\"" | g++ -std=c++20 -I. -isystem tests/emulated_cuda -DSPLITD_NET=1 -DSPLITD_TEST_DATA='""' \
    -DSPLITD_TEST_BUILD='""' -DSPLITD_BINARY='""' -DSPLITD_EMULATOR='""' -DSPLITD_DEMO_MODEL='""' \
    -fsyntax-only -Wall -Wextra -x c++ - \
    || { echo "$1: does not compile on its own"; return 1; }
}
export -f check_one
# Kernel lanes are written in the intrinsics of one instruction set: their units compile them. What is
# written for CUDA has to compile against its emulation.
git ls-files '*.h' | grep -vE '^kernels/.*_lanes\.h' | xargs -P "$(nproc)" -I{} bash -c 'check_one "$@"' _ {}
echo "headers: ok"
