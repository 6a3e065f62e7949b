# The list of commands. `just` alone shows it.

export ROLLOUT_REQUIRE_ALL := env("ROLLOUT_REQUIRE_ALL", "0")

_list:
    @just --list --unsorted

# Run the five-day guide in a minute, with two SIGKILLs. `just demo --scenario breach` for a rollback.
demo *ARGS:
    cargo run -p rolloutd -- demo {{ARGS}}

# All tests: the README's command.
test:
    cargo test --workspace

# Format, lints, rustdoc, licences and bans: what a change must pass besides its tests.
lint: fmt-check clippy doc deny

fmt-check:
    cargo fmt --all --check

clippy:
    cargo clippy --workspace --all-targets -- -D warnings

doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

deny:
    cargo deny check licenses bans sources

# Write generated pages and golden files anew: docs/state-machine.md, record fixtures, snapshots.
bless:
    BLESS=1 INSTA_UPDATE=always cargo test --workspace

# One table from one run: durable transitions, resume, memory, cold CLI. Takes a few minutes.
bench:
    cargo build --release -p rolloutd -p rolloutctl -p rollout-e2e
    cargo build --release -p rollout-engine --example bench_engine
    target/release/rollout-bench

# What .ci/run calls after it has set the machine up.
ci: lint test
