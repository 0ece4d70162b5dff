#!/bin/sh
# Compares the training of the working tree with that of a commit, whose records are kept.
#
#     sh docs/verdict.sh [COMMIT]     default: origin/main
#
# SUITE    what is raced, with further options of `velodrome run`   default: smoke
# STUDIES  repetitions with other seeds                             default: 12
# BIN      the program that is built and raced                      default: velodrome
# CACHE    folder of the kept records      default: ~/.cache/velodrome-verdicts
#
# Further options of `velodrome compare` come from COMPARE, for example COMPARE="--format markdown".
# Exit codes are those of `velodrome compare`.
set -eu

commit=$(git rev-parse --verify "${1:-origin/main}^{commit}")
suite=${SUITE:-smoke}
studies=${STUDIES:-12}
bin=${BIN:-velodrome}
cache=${CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/velodrome-verdicts}
name=$(printf '%s' "$suite-$studies" | tr -c 'A-Za-z0-9._-' '_')
kept="$cache/$commit-$bin-$name.parquet"
work=$(mktemp -d)
root=$(git rev-parse --show-toplevel)
target=${CARGO_TARGET_DIR:-$root/target}

clean() {
    git -C "$root" worktree remove --force "$work/source" 2>/dev/null || true
    rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT TERM

# Builds the sources in $1 and races them into $2.
race() {
    (cd "$1" && CARGO_TARGET_DIR="$target" cargo build --release --bin "$bin")
    # $suite holds several words.
    # shellcheck disable=SC2086
    "$target/release/$bin" run $suite --studies "$studies" --records-only --out "$2"
}

if [ ! -e "$kept" ]; then
    git -C "$root" worktree add --detach "$work/source" "$commit"
    race "$work/source" "$work/base"
    mkdir -p "$cache"
    "$target/release/$bin" export "$work/base" --records "$kept"
fi
race "$root" "$work/candidate"
# shellcheck disable=SC2086
"$target/release/$bin" compare "$kept" "$work/candidate" ${COMPARE:-}
