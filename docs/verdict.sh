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
# The package may lie in a folder of the repository.
within=$(git rev-parse --show-prefix)
target=${CARGO_TARGET_DIR:-$root/target}
# Builds happen in another folder.
case $target in
    /*) ;;
    *) target=$PWD/$target ;;
esac

clean() {
    git -C "$root" worktree remove --force "$work/source" 2>/dev/null || true
    rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT TERM

# Builds the sources in $1 and races them into $2. Standard output is for the verdict.
race() {
    # Cargo tells two working trees apart by the times of their files alone, and would take the program of
    # one for that of the other: what does not come from a registry is built anew.
    (
        cd "$1/$within"
        export CARGO_TARGET_DIR="$target"
        cargo clean --quiet --release --workspace
        cargo build --release --workspace --bin "$bin"
    )
    # $suite holds several words.
    # shellcheck disable=SC2086
    "$target/release/$bin" run $suite --studies "$studies" --records-only --out "$2" >&2
}

if [ ! -e "$kept" ]; then
    git -C "$root" worktree add --detach "$work/source" "$commit" >&2
    race "$work/source" "$work/base"
    mkdir -p "$cache"
    "$target/release/$bin" export "$work/base" --records "$kept" >&2
fi
race "$root" "$work/candidate"
# shellcheck disable=SC2086
"$target/release/$bin" compare "$kept" "$work/candidate" ${COMPARE:-}
