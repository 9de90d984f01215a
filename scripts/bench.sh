#!/usr/bin/env bash
# Every benchmark beside its peer, in one run, since these machines are noisy: only ratios count.
set -euo pipefail
cd "$(dirname "$0")/.."
