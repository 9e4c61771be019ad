#!/bin/sh
# Builds the peer of tokio from Debian's crates, without a network: tokio.sh SOURCE REGISTRY OUT
set -e
source=$(realpath "$1") registry=$2 out=$(realpath -m "$3")
mkdir -p "$out.crate"
cat >"$out.crate/Cargo.toml" <<END
[package]
name = "tokio-peer"
version = "0.0.0"
edition = "2021"

[[bin]]
name = "tokio-peer"
path = "$source"

[dependencies]
tokio = { version = "1", features = ["rt", "net", "time", "sync", "io-util"] }

[profile.release]
panic = "abort"
END
cd "$out.crate"
cargo build --release --offline --quiet --config 'source.crates-io.replace-with="debian"' \
    --config "source.debian.directory=\"$registry\""
cp target/release/tokio-peer "$out"
