#!/bin/sh
# What the CI components do, for every CI system alike. Settings are environment variables; lists have one entry a line.
#
#   gitchain-ci.sh install    an environment of its own, every package pinned by digest; PATH for the next steps
#   gitchain-ci.sh attest     attest GITCHAIN_STEPS (or all that lack one), exchange attestations with the remote
#   gitchain-ci.sh verify     fetch the attestations, verify GITCHAIN_TARGETS; the exit code is the verdict
#
# GITCHAIN_LAYOUT, GITCHAIN_SIGNER, GITCHAIN_ISSUER, GITCHAIN_TRUST   whose layout decides, and under which trust
# GITCHAIN_LAYOUT_NAME         the name that the layout must have; without one the repository decides
# GITCHAIN_MINIMUM_VERSION     the oldest version of the layout that may decide
# GITCHAIN_CHECKPOINT          a checkpoint of the attestations that the store must cover
# GITCHAIN_STATE               a directory that the CI system keeps from job to job: what it held last is remembered there
# GITCHAIN_IDENTITY   who signs, on the embedded instance alone
# GITCHAIN_SUMMARY    the file to append the page to
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
source=${GITCHAIN_SOURCE:-$here/../..}
venv=${GITCHAIN_VENV:-${RUNNER_TEMP:-${TMPDIR:-/tmp}}/gitchain-venv}
PATH=$venv/bin:$PATH
remote=${GITCHAIN_REMOTE:-origin}
ref=refs/gitchain/attestations

say() { printf 'gitchain-ci: %s\n' "$*" >&2; }

install() {
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        say "Python 3.11 or newer is needed, found $(python3 --version 2>&1)"
        exit 2
    }
    python3 -m venv "$venv"
    # What has no wheel is built with the pinned setuptools, and with nothing that was fetched for the purpose.
    set -- --quiet --disable-pip-version-check --no-deps --no-build-isolation
    python -m pip install "$@" --require-hashes -r "$source/requirements/build.txt"
    python -m pip install "$@" --require-hashes -r "$source/requirements/base.txt"
    python -m pip install "$@" --no-index "$source"
    gitchain --version
    if [ -n "${GITHUB_PATH:-}" ]; then printf '%s\n' "$venv/bin" >>"$GITHUB_PATH"; fi
}

attest() {
    set -- ${GITCHAIN_TRUST:+--trust "$GITCHAIN_TRUST"} ${GITCHAIN_IDENTITY:+--as "$GITCHAIN_IDENTITY"}
    fetch
    by_line
    # shellcheck disable=SC2086 # one argument a line
    gitchain attest "$@" -- ${GITCHAIN_STEPS:-}
    gitchain sync "$@" "$remote"
}

verify() {
    set -- ${GITCHAIN_LAYOUT:+--layout "$GITCHAIN_LAYOUT"} ${GITCHAIN_TRUST:+--trust "$GITCHAIN_TRUST"} \
        ${GITCHAIN_SIGNER:+--signer "$GITCHAIN_SIGNER"} ${GITCHAIN_ISSUER:+--issuer "$GITCHAIN_ISSUER"} \
        ${GITCHAIN_LAYOUT_NAME:+--layout-name "$GITCHAIN_LAYOUT_NAME"} \
        ${GITCHAIN_MINIMUM_VERSION:+--minimum-version "$GITCHAIN_MINIMUM_VERSION"} \
        ${GITCHAIN_CHECKPOINT:+--checkpoint "$GITCHAIN_CHECKPOINT"} \
        ${GITCHAIN_SUMMARY:+--summary "$GITCHAIN_SUMMARY"}
    if [ -n "${GITCHAIN_SUMMARY:-}" ]; then not_of_repository "$GITCHAIN_SUMMARY"; fi
    if [ -n "${GITCHAIN_STATE:-}" ]; then not_of_repository "$GITCHAIN_STATE"; fi
    remember
    fetch
    by_line
    # shellcheck disable=SC2086 # one argument a line
    gitchain verify "$@" -- ${GITCHAIN_TARGETS:-HEAD}
}

# Pin the layout in the state that the CI system keeps, and say in the summary what this job cannot notice.
remember() {
    if [ -z "${GITCHAIN_LAYOUT_NAME:-}" ]; then
        warn "No layout name is set, so the repository decides which layout of the signer applies. Set layout-name."
    fi
    if [ -z "${GITCHAIN_STATE:-}" ]; then
        if [ -z "${GITCHAIN_MINIMUM_VERSION:-}" ] || [ -z "${GITCHAIN_CHECKPOINT:-}" ]; then
            warn "This job is stateless: it cannot detect a layout or a history of attestations that was rolled back. Set state, or minimum-version and checkpoint."
        fi
        return
    fi
    if [ ! -e "$GITCHAIN_STATE/pins.json" ]; then
        warn "The state of earlier jobs is empty: this job cannot detect a layout or a history of attestations that was rolled back before it."
    fi
    mkdir -p "$GITCHAIN_STATE"
    GITCHAIN_HOME=$(CDPATH='' cd -- "$GITCHAIN_STATE" && pwd)
    export GITCHAIN_HOME
    if [ -n "${GITCHAIN_LAYOUT_NAME:-}" ] && [ -n "${GITCHAIN_SIGNER:-}" ] && [ -n "${GITCHAIN_ISSUER:-}" ] && [ -n "${GITCHAIN_TRUST:-}" ]; then
        gitchain --trust "$GITCHAIN_TRUST" trust pin --layout "$GITCHAIN_LAYOUT_NAME" \
            --signer "$GITCHAIN_SIGNER" --issuer "$GITCHAIN_ISSUER" >/dev/null
    fi
}

# A path that the repository brings: its author would decide whom this job trusts, or where it writes.
not_of_repository() {
    if [ -L "$1" ] || [ -n "$(GIT_LITERAL_PATHSPECS=1 git ls-files -- "$1" 2>/dev/null)" ]; then
        say "the repository holds $1, which is for this job alone: remove it from the repository, or name another path"
        exit 2
    fi
}

warn() {
    say "warning: $1"
    if [ -n "${GITCHAIN_SUMMARY:-}" ]; then printf '> ⚠️ %s\n\n' "$1" >>"$GITCHAIN_SUMMARY"; fi
}

# From here on what is not quoted splits at line ends and nowhere else, and no pattern is expanded.
by_line() {
    set -f
    IFS='
'
}

# A checkout holds branches and tags alone. Never forced: what is there already stays, sync unites both.
fetch() {
    if git ls-remote --exit-code "$remote" "$ref" >/dev/null 2>&1; then
        git fetch --quiet --no-tags "$remote" "$ref:$ref" || say "the attestations were not fast-forwarded: sync unites them"
    else
        say "$remote has no attestations yet"
    fi
}

case ${1:-} in
install | attest | verify) "$1" ;;
*)
    say "usage: gitchain-ci.sh install|attest|verify"
    exit 2
    ;;
esac
