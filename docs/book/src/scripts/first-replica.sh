#!/usr/bin/env bash
# From one server to two: a PostgreSQL with data and load gets a replica, the router finds it, and a load test shows what it
# brings. Then all of it is taken away again. The page first-replica.md tells the story; the test suite runs this script.
#
# Everything stands in one directory and listens on 127.0.0.1. What may be said by the environment:
#   HIGHWATER       the command                                  [highwater]
#   PG_BIN          PostgreSQL's programs                        [the newest of /usr/lib/postgresql/*/bin]
#   STORY_DIR       where everything stands; removed at the end  [a temporary directory]
#   PRIMARY_PORT, REPLICA_PORT, ROUTER_PORT, HTTP_PORT           [5532, 5533, 6532, 6533]
#   BENCH_TIME      how long each target is measured             [10s]
#   CPU_PERCENT     of one core, for each server by itself       [30; 0 for no limit]
set -euo pipefail

highwater=${HIGHWATER:-highwater}
bin=${PG_BIN:-$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)}
dir=${STORY_DIR:-$(mktemp -d)}
primary_port=${PRIMARY_PORT:-5532} replica_port=${REPLICA_PORT:-5533}
router_port=${ROUTER_PORT:-6532} http_port=${HTTP_PORT:-6533}
bench_time=${BENCH_TIME:-10s} percent=${CPU_PERCENT:-30}

export HIGHWATER_REPLICAS=$dir/replicas
primary=postgresql://postgres:story@127.0.0.1:$primary_port
app=postgresql://app:story@127.0.0.1
load= router= groups=

say() { printf '\n== %s\n' "$*"; }

# PostgreSQL refuses to run as root.
as_postgres() {
    if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"; else "$@"; fi
}

# Asks until the answer is yes, for a minute.
wait_for() {
    local what=$1 tries=0
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || { echo "waited a minute in vain for $what" >&2; return 1; }
        sleep 0.2
    done
}

# Two servers on one machine share its cores, so that the second one would bring nothing: each gets CPU time of its own, as if
# it were a machine. By cgroups, where these may be written.
own_cpu() {
    local name=$1 postmaster=$2 group pid
    [ "$percent" != 0 ] || return 0
    if [ -w /sys/fs/cgroup/cpu/cgroup.procs ]; then
        group=/sys/fs/cgroup/cpu/highwater-story-$$-$name
        mkdir "$group"
        echo $((percent * 1000)) >"$group/cpu.cfs_quota_us"
    elif [ -w /sys/fs/cgroup/cgroup.subtree_control ] && grep -qw cpu /sys/fs/cgroup/cgroup.subtree_control; then
        group=/sys/fs/cgroup/highwater-story-$$-$name
        mkdir "$group"
        echo "$((percent * 1000)) 100000" >"$group/cpu.max"
    else
        echo "no cgroups can be written here: the servers share the machine, so the test can't show what a second one brings"
        return 0
    fi
    groups="$groups $group"
    for pid in "$postmaster" $(cat /proc/"$postmaster"/task/*/children); do
        echo "$pid" >"$group/cgroup.procs" || true
    done
    echo "$name: $percent % of a core of its own"
}

clean_up() {
    local status=$?
    trap - EXIT
    for pid in $load $router; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; done
    [ ! -d "$dir/replicas/first" ] || "$highwater" replica remove first --primary "$primary/postgres" --force >/dev/null 2>&1 || true
    as_postgres "$bin/pg_ctl" -D "$dir/primary" -m immediate -w stop >/dev/null 2>&1 || true
    for group in $groups; do rmdir "$group" 2>/dev/null || { sleep 1; rmdir "$group" || true; }; done
    rm -rf "$dir/primary" "$dir/replicas" "$dir"/nodes "$dir"/*.toml "$dir"/*.log "$dir"/bench.json
    if [ -z "${STORY_DIR:-}" ]; then rm -rf "$dir"; fi
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM
chmod 755 "$dir"

say "One PostgreSQL, as you may have it: a primary on port $primary_port"
install -d -m 700 "$dir/primary"
[ "$(id -u)" != 0 ] || chown postgres "$dir/primary"
cd "$dir"
as_postgres "$bin/initdb" -D "$dir/primary" -U postgres --auth-local=trust --auth-host=scram-sha-256 --no-sync >initdb.log
cat >>"$dir/primary/postgresql.conf" <<SETTINGS
port = $primary_port
listen_addresses = '127.0.0.1'
unix_socket_directories = '$dir/primary'
max_slot_wal_keep_size = '2GB'
SETTINGS
as_postgres "$bin/pg_ctl" -D "$dir/primary" -l "$dir/primary/log" -w start >pg_ctl.log
as_postgres "$bin/psql" -X -q -h "$dir/primary" -p "$primary_port" -U postgres <<SQL
ALTER ROLE postgres PASSWORD 'story';
CREATE ROLE app LOGIN PASSWORD 'story';
CREATE DATABASE app OWNER app;
CREATE ROLE highwater LOGIN PASSWORD 'story' IN ROLE pg_monitor;
SQL
own_cpu primary "$(head -n 1 "$dir/primary/postmaster.pid")"

say "Data, and load on it"
"$highwater" bench --dsn "$app:$primary_port/app" --init --time 1s --warmup 0s --clients 2 --quiet --no-probe
"$highwater" bench --dsn "$app:$primary_port/app" --rate 20 --clients 4 --time 10min --quiet --no-probe >load.log 2>&1 &
load=$!

say "The router, which takes its nodes from a file"
echo "127.0.0.1:$primary_port primary" >nodes
(
    umask 077
    cat >highwater.toml <<TOML
listen = "127.0.0.1:$router_port"
http = "127.0.0.1:$http_port"

[[cluster]]
name = "main"
discover = { file = "$dir/nodes" }
monitor = { user = "highwater", password = "story" }

[[database]]
name = "app"

[[user]]
name = "app"
password = "story"
TOML
)
"$highwater" serve -c highwater.toml >router.log 2>&1 &
router=$!
ready() { "$highwater" status --http "127.0.0.1:$http_port" | grep -q "primary.*up"; }
wait_for "the router" ready
"$highwater" status --http "127.0.0.1:$http_port"

say "What would be done"
"$highwater" replica create --primary "$primary/postgres" --name first --port "$replica_port" --no-unit \
    --nodes-file nodes --dry-run

say "A replica on port $replica_port"
"$highwater" replica create --primary "$primary/postgres" --name first --port "$replica_port" --no-unit \
    --nodes-file nodes
"$highwater" replica list --primary "$primary/postgres"
own_cpu replica "$(head -n 1 "$dir/replicas/first/data/postmaster.pid")"

say "The router has found it"
cat nodes
found() { "$highwater" status --http "127.0.0.1:$http_port" | grep -q "first.*replica.*up"; }
wait_for "the replica at the router" found
"$highwater" status --http "127.0.0.1:$http_port"

say "What it brings: the same load on the primary alone, and through the router"
kill "$load" && wait "$load" 2>/dev/null || true
load=
"$highwater" bench --dsn "primary=$app:$primary_port/app" --against "router=$app:$router_port/app" \
    --time "$bench_time" --warmup 1s --clients 8 --json bench.json

say "And gone again: the server, its slot on the primary, its directory, its line"
"$highwater" replica remove first --primary "$primary/postgres"
cat nodes
gone() { ! found; }
wait_for "the router to let it go" gone
"$highwater" replica list
as_postgres "$bin/psql" -X -At -h "$dir/primary" -p "$primary_port" -U postgres \
    -c "SELECT 'replication slots left: ' || count(*) FROM pg_replication_slots"
say "The end"
