# Shared by the hooks of gitchain: shell builtins alone, because every process costs the commit a millisecond.
# Reads $gitchain_python. Every name starts with gitchain_, so that the hook it stands in keeps its own.

# Find this repository's own directory ($gitchain_home) from the environment that Git gives to a hook, so that a moved
# or copied repository and a linked worktree need nothing baked in. False: nothing to do here.
gitchain_locate() {
    [ -z "${GITCHAIN_HOOKS_OFF-}" ] || return 1
    gitchain_git=${GIT_DIR:-.git}
    if [ -f "$gitchain_git" ]; then
        IFS= read -r gitchain_git <"$gitchain_git" || [ -n "$gitchain_git" ] || return 1
        gitchain_git=${gitchain_git#gitdir: }
    fi
    gitchain_common=${GIT_COMMON_DIR:-$gitchain_git}
    if [ -z "${GIT_COMMON_DIR-}" ] && [ -f "$gitchain_git/commondir" ]; then
        IFS= read -r gitchain_common <"$gitchain_git/commondir" || [ -n "$gitchain_common" ] || return 1
        case $gitchain_common in
            /*) ;;
            *) gitchain_common=$gitchain_git/$gitchain_common ;;
        esac
    fi
    gitchain_home=$gitchain_common/gitchain
    [ -d "$gitchain_home" ]
}

# Append one line to the queue. O_APPEND and one short write: writers do not mix.
gitchain_queue() {
    printf 'v1 %s %s\n' "$1" "$2" >>"$gitchain_home/queue" && return 0
    printf '%s\n' "cannot append to the queue: $1 $2" >|"$gitchain_home/hook-error"
    return 1
}

# Put the commit that HEAD names into $gitchain_oid, or "-" where that takes more than reading two files.
gitchain_head() {
    gitchain_oid=-
    gitchain_ref=
    IFS= read -r gitchain_ref <"$gitchain_git/HEAD" || return 0
    case $gitchain_ref in
        'ref: '*) IFS= read -r gitchain_oid <"$gitchain_common/${gitchain_ref#ref: }" || gitchain_oid=- ;;
        *) gitchain_oid=$gitchain_ref ;;
    esac
    case $gitchain_oid in
        '' | *[!0-9a-f]*) gitchain_oid=- ;;
    esac
}

# True if a drainer is on its way: it wrote its process id into "wake", and takes the file away before its last look at
# the queue, so no line that was queued before this question is missed.
gitchain_awake() {
    gitchain_pid=
    IFS= read -r gitchain_pid <"$gitchain_home/wake" || return 1
    case $gitchain_pid in
        '' | *[!0-9]*) return 1 ;;
    esac
    kill -0 "$gitchain_pid" || return 1
    gitchain_stat=
    [ ! -r "/proc/$gitchain_pid/stat" ] || IFS= read -r gitchain_stat <"/proc/$gitchain_pid/stat" || :
    case $gitchain_stat in
        *') Z '*) return 1 ;;
    esac
}

# Variables that name this repository must not follow the drainer into another one.
gitchain_forget() {
    trap '' HUP
    unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_PREFIX GIT_COMMON_DIR GIT_OBJECT_DIRECTORY GIT_QUARANTINE_PATH
    unset GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_CONFIG GIT_CONFIG_PARAMETERS GIT_CONFIG_COUNT GIT_IMPLICIT_WORK_TREE
    unset GIT_GRAFT_FILE GIT_NO_REPLACE_OBJECTS GIT_REPLACE_REF_BASE GIT_SHALLOW_FILE GIT_REFLOG_ACTION
    export GITCHAIN_HOOKS_OFF=1
}

# Start the one drainer, in the background, unless one is on its way. It waits a second first, for the next commit.
# The exec before that lets go of the shell's copies of stdout and stderr, which whoever started Git may be reading.
gitchain_drain() {
    if [ -e "$gitchain_home/wake" ]; then
        ! gitchain_awake || return 0
    else
        set -C
        printf '' >"$gitchain_home/wake" || { set +C; return 0; }
        set +C
    fi
    if [ ! -x "$gitchain_python" ]; then
        printf '%s\n' "gitchain is not at $gitchain_python any more" >|"$gitchain_home/hook-error"
        return 0
    fi
    (
        gitchain_forget
        exec /bin/sh -c 'sleep 1; exec nice -n 19 "$0" -I -m gitchain.hooks drain "$1"' "$gitchain_python" "$gitchain_common"
    ) </dev/null >/dev/null 2>|"$gitchain_home/drain.log" 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
    printf '%s\n' "$!" >|"$gitchain_home/wake"
}

# Bring the post-commit hook back after a rebase (see hooks/post-commit). "rebase" says that it is at its end, while
# its directory is still there.
gitchain_rouse() {
    gitchain_hook=$gitchain_common/hooks/post-commit
    [ -e "$gitchain_hook.gitchain-asleep" ] && [ ! -e "$gitchain_hook" ] || return 0
    [ "$1" = rebase ] || [ ! -d "$gitchain_git/rebase-merge" ] || return 0
    mv "$gitchain_hook.gitchain-asleep" "$gitchain_hook"
}
