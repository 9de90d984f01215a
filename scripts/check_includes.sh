#!/usr/bin/env bash
# Fails when an include goes against the dependency direction of STYLE.md:
#   tests → tools → runtime → {kernels, net} → runtime/base
#   inside runtime: split, privacy → decode → engine → model → base
# Also: includes of our own files are written from the root of the repository.
set -euo pipefail
cd "$(dirname "$0")/.."

git ls-files '*.h' '*.cpp' '*.cu' '*.cuh' | xargs awk '
function room(path) {
  if (path ~ /^runtime\/[a-z]+\//) { split(path, part, "/"); return "runtime/" part[2] }
  if (path ~ /^runtime\/[^\/]+$/) return "runtime/api"  # splitd.h and its implementation
  split(path, part, "/"); return part[1]
}
BEGIN {
  base = " runtime/base "
  may["runtime/base"] = base
  may["kernels"] = base " kernels "
  may["net"] = base " net "
  low = base " kernels net "
  may["runtime/model"] = low " runtime/model "
  may["runtime/engine"] = may["runtime/model"] " runtime/engine "
  may["runtime/decode"] = may["runtime/engine"] " runtime/decode "
  may["runtime/split"] = may["runtime/decode"] " runtime/split "
  may["runtime/privacy"] = may["runtime/decode"] " runtime/privacy "
  may["runtime/api"] = may["runtime/split"] " runtime/privacy runtime/api "
  may["tools"] = may["runtime/api"] " tools "
  may["tests"] = may["tools"] " tests "
}
/^[ \t]*#[ \t]*include[ \t]*"/ {
  match($0, /"[^"]+"/); path = substr($0, RSTART + 1, RLENGTH - 2)
  from = room(FILENAME); to = room(path)
  if (!(from in may)) { printf "%s: no rule for the room %s\n", FILENAME, from; bad = 1; next }
  if (!(to in may)) {
    printf "%s:%d: \"%s\" is not written from the root of the repository\n", FILENAME, FNR, path
    bad = 1
  } else if (index(may[from], " " to " ") == 0) {
    printf "%s:%d: %s must not include %s (\"%s\")\n", FILENAME, FNR, from, to, path
    bad = 1
  }
}
END { if (bad) exit 1; print "includes: ok" }
'
