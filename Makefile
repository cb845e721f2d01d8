# Two commands: `make up` runs a store under ./data, `make test` runs every test.
# Both install what they need from the system's packages when they may, else they name the one command that does.

SHELL := /bin/bash
DATA ?= ./data
TARGET := $(or $(CARGO_TARGET_DIR),$(shell cargo metadata --format-version 1 --no-deps 2>/dev/null | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'),target)

.PHONY: up build guest test fmt lint bench

build:
	cargo build --release --bin ashlar

up:
	@bash .ci/needs up
	@$(MAKE) --no-print-directory build
	exec "$(TARGET)/release/ashlar" up --data "$(DATA)"

# A kernel and an initrd for a first VM, in ./guest.
guest:
	@bash .ci/needs test
	@bash .ci/guest

test:
	@bash .ci/needs test
	@bash .ci/test

fmt:
	cargo fmt --all

lint:
	cargo clippy --workspace --all-targets -- -D warnings

bench:
	@bash .ci/needs test
	cargo run --release -p bench -- block
