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

# The simulator: `just sim --seeds 100000 --jobs 2`, or one seed with its trace: `SEED=22 just sim`.
sim *ARGS:
    cargo run --profile proof -p rollout-sim --bin rollout-sim -- {{ARGS}}

# Plant each defect of crates/rollout-sim/mutants.toml and see whether the simulator finds it.
sim-mutants *ARGS:
    cargo run --profile proof -p rollout-sim --bin sim-mutants -- {{ARGS}}

# Abort the real daemon at 600 kill points of six scripts, or at `all` of them, and compare with the runs that were left alone.
kill-matrix POINTS="full":
    ROLLOUT_REQUIRE_ALL=1 ROLLOUT_KILL_POINTS={{POINTS}} cargo test -p rollout-e2e --test durability kill_matrix -- --nocapture

# A full disk, a read-only one, an error at each of the first writes and syncs: the real daemon (needs root, mkfs.ext4, mount).
no-room:
    ROLLOUT_REQUIRE_ALL=1 cargo test -p rollout-e2e --test durability no_room -- --nocapture

# Cut the power of the real daemon N times, and of one that does not sync (needs root, mkfs.ext4, mount).
power-cut N="30":
    cargo build -p rollout-e2e --bins
    target/debug/rollout-power-cut {{N}}

# Judge N disks that power cuts may leave of a recorded daemon, N of its store alone, and some without our sync (needs cc).
torn-writes N="1000" *SUBJECT:
    cargo build --profile proof -p rollout-e2e --bins
    "${CARGO_TARGET_DIR:-target}/proof/rollout-torn-writes" {{N}} {{SUBJECT}}

# Fuzz every target, or one, for so many seconds each: `just fuzz 60 decide`.
fuzz SECONDS="600" *TARGETS="records plans decide bodies":
    for target in {{TARGETS}}; do mkdir -p fuzz/target/corpus/$target && cargo fuzz run --sanitizer none --fuzz-dir fuzz $target fuzz/target/corpus/$target fuzz/corpus/$target -- -max_total_time={{SECONDS}} -rss_limit_mb=4096 || exit 1; done

# Convex's own command line and convex-test, unmodified, against the emulator and our adapter; every kind of source against the
# real Prometheus. Installs what is missing (Node, Convex's packages, Prometheus), starts it on loopback, and stops it.
conformance:
    tests/conformance/setup
    ROLLOUT_REQUIRE_ALL=1 cargo test -p rollout-e2e --test conformance
    ROLLOUT_REQUIRE_ALL=1 cargo test -p rollout-convex --test providers

# One table from one run: rolling five flags back against the guide's commands, connections, reaction to a breach.
bench-convex:
    tests/conformance/setup
    cargo build --release -p rolloutd -p rolloutctl -p convex-emulator -p rollout-e2e
    "${CARGO_TARGET_DIR:-target}/release/rollout-bench-convex"

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
    cargo run --release -p rollout-engine --example bench_verify

# What .ci/run calls after it has set the machine up.
ci: lint test
