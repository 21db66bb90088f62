#!/bin/sh
# What the Dockerfile does, where there is no container engine: the same steps at the same paths, then a run as the
# image's user, on a root that is read-only but for /data and /tmp, without capabilities and without a network.
# Needs root, Linux, util-linux and a Python that every user may run (PYTHON=/usr/bin/python3); fetches the locked wheels.
set -eu

if [ "${INSIDE:-}" = "" ]; then
    folder=$(mktemp -d)
    mkdir -p /opt/executor /data
    trap 'rm -rf "$folder"; rmdir --ignore-fail-on-non-empty /opt/executor /data' EXIT
    INSIDE=build SOURCE=$(cd "$(dirname "$0")/../.." && pwd) FOLDER=$folder PYTHON=${PYTHON:-/usr/bin/python3} \
        unshare --mount --propagation private sh "$0"
    exit
fi

step() { printf '\n== %s\n' "$*"; }

if [ "$INSIDE" = build ]; then
    mkdir -p "$FOLDER/opt" "$FOLDER/data" "$FOLDER/src"
    mount --bind "$FOLDER/opt" /opt/executor
    # As .dockerignore has it.
    (cd "$SOURCE" && tar c --exclude __pycache__ --exclude '*.egg-info' pyproject.toml requirements.lock README.md src) \
        | tar x -C "$FOLDER/src"
    cd "$FOLDER/src"
    step build: venv from the lock, the package, nothing to install with left behind
    "$PYTHON" -m venv /opt/executor
    /opt/executor/bin/pip --disable-pip-version-check install --quiet --require-hashes --no-deps --only-binary :all: -r requirements.lock
    /opt/executor/bin/pip --disable-pip-version-check install --quiet --no-build-isolation --no-deps .
    /opt/executor/bin/pip --disable-pip-version-check uninstall --quiet --yes setuptools pip
    "$PYTHON" -m compileall -q /opt/executor/lib
    du -sh /opt/executor
    chown 10001:10001 "$FOLDER/data"
    chmod 0700 "$FOLDER/data"
    step root read-only, no network
    INSIDE=run unshare --mount --net --propagation private sh "$SOURCE/tests/deploy/container_without_engine.sh"
    exit
fi

ip link set lo up 2>/dev/null || true
mount --bind "$FOLDER/data" /data
mount -t tmpfs -o rw,noexec,nosuid,nodev,size=16m tmpfs /tmp
mount -o remount,ro,bind /opt/executor
mount -o remount,ro,bind /

as_executor() {
    ${EXEC:-} setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all \
        env -i PATH=/opt/executor/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 LOG_FORMAT=json \
        STATE_FN=/data/state/executor_state.json SIGNAL_FILE=/data/signals.jsonl "$@"
}

cd /data
step who it is, and what it can write to
as_executor sh -c 'id -u; touch /opt/x 2>&1 || true; touch /usr/x 2>&1 || true; touch /data/x && rm /data/x && echo /data is writable'
step "executor ping without a service must fail"
as_executor executor ping 2>/dev/null && exit 1 || { code=$?; echo "exit code $code"; [ $code = 69 ]; }
step a paper run to its end
as_executor PAPER_SPEED=0 PAPER_BALANCES=USDT=10000,LTC=10 ALLOW_SHORT=true HTTP_PORT=0 executor run 2>/tmp/log \
    || { tail -20 /tmp/log; exit 1; }
step health while it runs, then the end by STOPSIGNAL
EXEC=exec
as_executor PAPER_AT_END=hold PAPER_SPEED=1 executor run 2>/tmp/log & pid=$!
EXEC=
tries=0
until as_executor executor ping 2>/dev/null; do
    tries=$((tries + 1)); [ $tries -lt 60 ] || { cat /tmp/log; exit 1; }; sleep 0.5
done
kill -TERM $pid
wait $pid; echo "exit code $?"
step what it left behind
ls -lAR /data | grep -v '^total'
find /data -type f -perm /077 | grep . && exit 1 || echo "no file that others can read"
