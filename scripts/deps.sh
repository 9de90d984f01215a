#!/usr/bin/env bash
# Installs the Debian packages of one group: build (with tests and demo), check, aarch64.
# Says what it installs; needs root or sudo only when something is missing.
set -euo pipefail

build=(g++ cmake ninja-build pkg-config ccache git xz-utils ca-certificates
       libpcre2-dev libutf8proc-dev libtomlplusplus-dev libmbedtls-dev
       libgtest-dev python3 python3-pip python3-venv)
check=(clang clang-format libclang-rt-14-dev)
aarch64=(g++-aarch64-linux-gnu qemu-user libstdc++6:arm64 libpcre2-dev:arm64 libutf8proc-dev:arm64
         libmbedtls-dev:arm64 libgtest-dev:arm64)

group=${1:-build}
case "$group" in
  build) wanted=("${build[@]}") ;;
  check) wanted=("${check[@]}") ;;
  aarch64) wanted=("${aarch64[@]}") ;;
  *) echo "deps.sh: unknown group '$group'; groups: build check aarch64" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null; then
  echo "deps: not a Debian system; install the equivalents of: ${wanted[*]}" >&2
  exit 0
fi

# A package may be there for several architectures: without a suffix this machine's counts.
native=$(dpkg --print-architecture)
missing=()
for package in "${wanted[@]}"; do
  case "$package" in *:*) arch=${package#*:} ;; *) arch=$native ;; esac
  dpkg-query -W -f='${Architecture} ${db:Status-Status}\n' "${package%:*}" 2>/dev/null |
    grep -qxE "($arch|all) installed" || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "deps: all ${#wanted[@]} packages of '$group' are installed"
  exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "deps: missing ${missing[*]}; run this as root: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi

echo "deps: installing ${missing[*]}"
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq)
[ "$group" != aarch64 ] || "${as_root[@]}" dpkg --add-architecture arm64
"${apt[@]}" update
"${apt[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null
