#!/usr/bin/env bash
# Starts an image that build-with-buildah.sh made, with the user, environment and commands that the image names,
# as process 1 on a read-only root file system, and checks what the Dockerfile promises.
#
#   test/container/check-image.sh [IMAGE [WORK_FOLDER]]
#
# Needs root on Linux with buildah, util-linux and curl. PORT (environment) must be free, 18080 by default.
set -euo pipefail

repository="$(cd "$(dirname "$0")/../.." && pwd)"
image="${1:-classify-images:0.0.1}"
work="${2:-/tmp/classify-images-container}"
port="${PORT:-18080}"

b() { command buildah --root "$work/storage" --runroot "$work/run" --storage-driver "${STORAGE_DRIVER:-overlay}" "$@"; }
# config TEMPLATE: a list of the image's settings as lines.
config() { b inspect --type image --format "{{range .Docker.Config.$1}}{{println .}}{{end}}" "localhost/$image" | sed '/^$/d'; }
failed=0
check() { # check NAME COMMAND...
  if "${@:2}"; then echo "ok      $1"; else echo "FAILED  $1"; failed=1; fi
}

mapfile -t environment < <(config Env)
mapfile -t command < <(config Cmd)
mapfile -t health < <(config Healthcheck.Test | tail -n +2)
user="$(b inspect --type image --format '{{.Docker.Config.User}}' "localhost/$image")"
folder="$(b inspect --type image --format '{{.Docker.Config.WorkingDir}}' "localhost/$image")"

state="$(mktemp -d)"
container="$(b from --pull-never "localhost/$image")"
server=
finish() {
  # Process 1 by itself: having changed its user, it no longer ends with its parent.
  if [ -n "$server" ]; then pkill -KILL --parent "$server" || true; fi
  b umount "$container" >/dev/null
  b rm "$container" >/dev/null
  rm -rf "$state"
}
trap finish EXIT
root="$(b mount "$container")"
# A new volume is filled with the image's folder and takes its owner.
cp -a "$root/.cache/clip" "$state/volume"
mkdir "$state/root"

# become COMMAND...: this shell becomes a container with the command as process 1; the network is this machine's.
become() {
  exec unshare --mount --pid --fork -- bash -euc '
    root="$1" at="$2" volume="$3"; shift 3
    mount --bind "$root" "$at"
    mount -o remount,bind,ro "$at"
    mount --bind "$volume" "$at/.cache/clip"
    mount -t tmpfs -o mode=1777 tmpfs "$at/tmp"
    mount -t proc proc "$at/proc"
    mount -t tmpfs -o mode=755 tmpfs "$at/dev"
    for device in null zero full random urandom; do
      touch "$at/dev/$device"
      mount --bind "/dev/$device" "$at/dev/$device"
    done
    exec "$@"
  ' - "$root" "$state/root" "$state/volume" \
    env --ignore-environment "${environment[@]}" HOME=/tmp PORT="$port" CLIP_MODEL=demo \
    chroot "$state/root" \
    setpriv --reuid "${user%:*}" --regid "${user#*:}" --clear-groups --no-new-privs --bounding-set=-all \
    env --chdir "$folder" "$@"
}

contained() { (become "$@"); }

check 'runs as a user who is not root' grep --quiet --line-regexp '[1-9][0-9]*' <<<"$(contained id -u)"
check 'gives a shell' test "$(contained /bin/bash -c 'echo shell')" = shell
check 'can write the cache folder' contained touch /.cache/clip/probe
check 'loads every package' contained bun -e \
  'for (const name of Object.keys(require("./package.json").dependencies)) await import(name)'

healthy() { contained "${health[@]}" >/dev/null 2>&1; }
not_healthy() { ! healthy; }
check 'finds its port free' not_healthy
become "${command[@]}" >"$state/log" 2>&1 &
server=$!
await_health() {
  for _ in $(seq 60); do healthy && return; sleep 1; done
  return 1
}
check 'becomes healthy' await_health
# The demo model knows colours and brightness.
categorize() {
  local answer
  answer="$(curl --silent --show-error --fail --max-time 60 --retry 30 --retry-delay 1 \
    --form files=@"$repository/test/golden/images/scene-640x480.jpg" \
    --form 'categories=["something bright","something dark"]' "http://127.0.0.1:$port/categorize")"
  test "$answer" = '{"scene-640x480.jpg":"something bright"}' || { echo "$answer"; return 1; }
}
check 'classifies a picture' categorize
# Its device id and queue would lie in the home folder, which is /tmp here.
check 'keeps no telemetry' test ! -e "/proc/$(pgrep --parent "$server")/root/tmp/.cache"

# Process 1 gets a signal from outside as from an engine; docker stop waits 10 seconds.
stopped() {
  pkill -TERM --parent "$server" || return 1
  local status=0
  timeout 10 tail --pid="$server" --follow /dev/null || return 1
  wait "$server" || status=$?
  server=
  return "$status"
}
check 'exits with 0 on SIGTERM' stopped
check 'is not healthy when nothing answers' not_healthy

if [ "$failed" != 0 ]; then cat "$state/log"; fi
exit "$failed"
