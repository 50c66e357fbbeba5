# Starts commands of a built image as a container engine does, without one. For the scripts beside it to source, which
# name IMAGE and WORK_FOLDER of build-with-buildah.sh as their arguments.
#
# Each command is process 1 on a read-only root file system, as the user and with the environment that the image names;
# /tmp is in memory, /.cache/clip is the folder $state/volume, the network is the machine's.

repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
image="${1:-classify-images:0.0.1}"
work="${2:-/tmp/classify-images-container}"
port="${PORT:-18080}"
# Settings of the operator, NAME=VALUE each.
settings=(CLIP_MODEL=demo)
# A memory control group to live in; none if empty.
cgroup=

b() { command buildah --root "$work/storage" --runroot "$work/run" --storage-driver "${STORAGE_DRIVER:-overlay}" "$@"; }
# config TEMPLATE: a list of the image's settings as lines.
config() { b inspect --type image --format "{{range .Docker.Config.$1}}{{println .}}{{end}}" "localhost/$image" | sed '/^$/d'; }

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

# become COMMAND...: this shell becomes a container with the command as process 1.
become() {
  if [ -n "$cgroup" ]; then echo "$BASHPID" >"$cgroup/cgroup.procs"; fi
  exec unshare --mount --pid --fork -- bash -euc '
    root="$1" at="$2" volume="$3"; shift 3
    mount --bind "$root" "$at"
    mount -o remount,bind,ro "$at"
    mount --bind "$volume" "$at/.cache/clip"
    mount -t tmpfs -o mode=1777 tmpfs "$at/tmp"
    mount -t proc proc "$at/proc"
    mount --rbind /sys "$at/sys"
    mount -t tmpfs -o mode=755 tmpfs "$at/dev"
    for device in null zero full random urandom; do
      touch "$at/dev/$device"
      mount --bind "/dev/$device" "$at/dev/$device"
    done
    exec "$@"
  ' - "$root" "$state/root" "$state/volume" \
    env --ignore-environment "${environment[@]}" HOME=/tmp PORT="$port" "${settings[@]}" \
    chroot "$state/root" \
    setpriv --reuid "${user%:*}" --regid "${user#*:}" --clear-groups --no-new-privs --bounding-set=-all \
    env --chdir "$folder" "$@"
}

contained() { (become "$@"); }

healthy() { contained "${health[@]}" >/dev/null 2>&1; }

# Starts the image's own command in the background.
start() {
  become "${command[@]}" >"$state/log" 2>&1 &
  server=$!
}

# Process 1 gets a signal from outside as from an engine; docker stop waits 10 seconds.
# stop: returns the command's exit code
stop() {
  pkill -TERM --parent "$server" || return 1
  local status=0
  timeout 10 tail --pid="$server" --follow /dev/null || return 1
  wait "$server" || status=$?
  server=
  return "$status"
}

# post PATH QUERY FORM...: the answer; waits while the model is being prepared.
post() {
  local form=() part
  for part in "${@:3}"; do form+=(--form "$part"); done
  curl --silent --show-error --fail --max-time 120 --retry 60 --retry-delay 1 "${form[@]}" \
    "http://127.0.0.1:$port$1$2"
}
