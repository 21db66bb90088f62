#!/bin/bash
# Run by a real systemd inside the container that `unit.py` boots; each line of /results is a check's outcome.
# The exchange is `executor paper`, a unit of its own; the service is config/executor.service, as installed.
set -u
exec > /results/log 2>&1
say() { echo "$1 $2" >> /results/outcome; }
check() { # sentence, command ...
    local name=$1; shift
    if "$@"; then say ok "$name"; else say FAILED "$name"; fi
}
until_true() { # seconds, command ...
    local end=$((SECONDS + $1)); shift
    until "$@" >/dev/null 2>&1; do [ $SECONDS -lt $end ] || return 1; sleep 0.3; done
}
as_user() { runuser -u executor -- env $(grep -v '^#' /etc/executor/executor.env | xargs) STATE_FN=/var/lib/executor/executor_state.json \
    SIGNAL_FILE=/var/lib/executor/signals.jsonl BINANCE_API_KEY=paper BINANCE_API_SECRET=paper /opt/executor/bin/executor "$@"; }
active() { [ "$(systemctl is-active executor)" = active ]; }
main_pid() { systemctl show -p MainPID --value executor; }
restarts() { systemctl show -p NRestarts --value executor; }
protected() { as_user status --format json | grep -q '"phase": *"protected"'; }
answers() { as_user ping; }
price() { /opt/executor/bin/python -c "import json,urllib.request as r;print(json.load(r.urlopen('http://127.0.0.1:9100/api/v3/ticker/price?symbol=LTCUSDT'))['price'])"; }

systemctl start paper
until_true 60 price
systemctl start executor; started=$?
check "it is ready once every order has been looked up" test $started -eq 0 -a "$(systemctl is-active executor)" = active
check "its status line says what is held" bash -c 'systemctl show -p StatusText --value executor | grep -q "no trade"'
check "its key came as a credential that is in no environment and no file of its own" \
    bash -c '! tr "\0" "\n" < /proc/$(systemctl show -p MainPID --value executor)/environ | grep -q "^BINANCE_API_KEY="'
p=$(price); stop=$(/opt/executor/bin/python -c "print(f'{float($p)*0.9:.2f}')")
as_user signal --side long --price "$p" --stop "$stop"
check "it trades" until_true 60 protected

before=$(main_pid)
kill -STOP "$before"; stopped=$SECONDS
hung() { [ "$(restarts)" = 1 ] && active; }
until_true 120 hung
took=$((SECONDS - stopped))
echo "a stopped process was killed and started again within $took s"
check "the watchdog ends a service that hangs, and it comes back" hung
check "the trade goes on" until_true 60 protected

waits=""
for crash in 1 2 3 4; do
    pid=$(main_pid); at=$(date +%s%N)
    kill -KILL "$pid"
    again() { [ "$(main_pid)" != 0 ] && [ "$(main_pid)" != "$pid" ] && active; }
    until_true 60 again
    waits="$waits $(( ($(date +%s%N) - at) / 1000000 ))"
done
echo "ms from crash to ready, crash by crash:$waits"
even() { for ms in $waits; do [ "$ms" -ge 2800 ] && [ "$ms" -le 18000 ] || return 1; done; [ -n "$waits" ]; }
check "each crash is followed by a restart after three seconds, the last as the first" even
check "the trade goes on after them" until_true 60 protected

told() { journalctl -u executor -o cat | grep -c '"event": *"'; }
check "the journal has the lines of each start" test "$(journalctl -u executor -o cat | grep -c '"ready"')" -ge 6
for n in $(seq 1 20); do as_user pause; as_user resume; done
check "the journal suppresses none of them" bash -c '! journalctl -u executor -u systemd-journald -o cat | grep -qi "suppressed"'

at=$SECONDS
systemctl stop executor
check "a stop ends it in order within the grace" test $((SECONDS - at)) -lt 30 -a "$(systemctl show -p Result --value executor)" = success
check "its exits are left on the exchange" bash -c '[ "$(journalctl -u executor -o cat | grep -c trade_closed)" = 0 ]'

sed -i 's/^QTY_USD=.*/QTY_USD=minus/' /etc/executor/executor.env
systemctl start executor
sleep 8
check "wrong settings end with 78 and are not tried again" \
    test "$(systemctl show -p ExecMainStatus --value executor)" = 78 -a "$(systemctl is-active executor)" = failed
systemd-analyze security executor --no-pager | tail -1
cp -r /var/log/journal /results/ 2>/dev/null
touch /results/done
systemctl poweroff
