#!/usr/bin/env bash
# Measures an image that build-with-buildah.sh made: its size, and how fast it starts and what memory it takes under the
# limit of a memory control group, with all three endpoints answering.
#
#   CHECKPOINT=ViT-B-32.pt VIDEO=film.mp4 test/container/measure-image.sh [IMAGE [WORK_FOLDER]]
#
# CHECKPOINT       a checkpoint that the service looks for under this name; the demo model if not given
# VIDEO            a video for /video
# LIMIT, FIRST_LIMIT  bytes of memory once the model is compiled (1 GiB), and while it is (2 GiB)
#
# Needs root on Linux with buildah, util-linux, curl and memory control groups of version 1 or 2.
set -euo pipefail
source "$(dirname "$0")/container.sh"

video="${VIDEO:?a video for /video}"
if [ -n "${CHECKPOINT:-}" ]; then
  cp "$CHECKPOINT" "$state/volume/"
  chown "$user" "$state/volume/$(basename "$CHECKPOINT")"
  settings=("${SETTINGS:-LOG_LEVEL=info}")
fi

mebi() { echo $(($1 / 1048576)) MiB; }
now() { date +%s%N; }

size() { du --summarize --one-file-system --block-size=1 "$1" | cut -f1 | { read -r bytes; mebi "$bytes"; }; }
echo "image: $(size "$root"), compressed $(
  tar --create --one-file-system --directory "$root" . | gzip | wc --bytes | { read -r bytes; mebi "$bytes"; })"
packages=/app/node_modules
for path in $packages/@seydx $packages/onnxruntime-node $packages/@napi-rs $packages /usr/local/bin/bun /app/src; do
  echo "  $path: $(size "$root$path")"
done

if [ -e /sys/fs/cgroup/memory/memory.limit_in_bytes ]; then
  groups=/sys/fs/cgroup/memory limit_file=memory.limit_in_bytes events=memory.oom_control
  anonymous() { sed -n 's/^total_rss //p' "$cgroup/memory.stat"; }
else
  groups=/sys/fs/cgroup limit_file=memory.max events=memory.events
  anonymous() { sed -n 's/^anon //p' "$cgroup/memory.stat"; }
fi

# Writes the highest memory without page cache, in bytes, into $state/peak from now on.
watch_memory() {
  # It ends by itself with the group that it watches.
  if [ -n "$sampler" ]; then kill "$sampler" 2>/dev/null || true; wait "$sampler" 2>/dev/null || true; fi
  local highest=0 bytes
  while true; do
    bytes="$(anonymous 2>/dev/null)" || break
    if [ "${bytes:-0}" -gt "$highest" ]; then highest="$bytes"; echo "$highest" >"$state/peak"; fi
    sleep 0.02
  done &
  sampler=$!
}
sampler=

# measured NAME LIMIT: one start, an answer of every endpoint, one end, with at most so much memory.
measured() {
  cgroup="$groups/classify-images-$$"
  mkdir "$cgroup"
  echo "$2" >"$cgroup/$limit_file"
  # The checkpoint's pages were charged to whoever read them first.
  sync && echo 3 >/proc/sys/vm/drop_caches
  local began
  began="$(now)"
  start
  watch_memory
  until curl --silent --fail --output /dev/null "http://127.0.0.1:$port/health"; do sleep 0.02; done
  echo "$1, limit $(mebi "$2")"
  echo "  listening after $((($(now) - began) / 1000000)) ms"
  until curl --silent --fail --output "$state/ready" "http://127.0.0.1:$port/ready"; do
    kill -0 "$server" 2>/dev/null || { cat "$state/log"; return 1; }
    sleep 0.02
  done
  echo "  ready after $((($(now) - began) / 1000000)) ms: $(cat "$state/ready")"
  echo "  memory until then: at most $(mebi "$(cat "$state/peak")") without page cache"
  watch_memory
  local picture="files=@$repository/test/golden/images/scene-640x480.jpg" labels='categories=["something bright","something dark"]'
  local pictures=() path
  for _ in $(seq 50); do pictures+=("$picture"); done
  for path in /categorize /image; do
    echo "  $path, 50 pictures: $(post "$path" '' "${pictures[@]}" "$labels" | cut -c1-90)…"
  done
  echo "  /video: $(post /video '?images=false' "video=@$video" "$labels" | cut -c1-90)"
  echo "  memory while answering: at most $(mebi "$(cat "$state/peak")") without page cache; killed: $(
    sed -n 's/^oom_kill //p' "$cgroup/$events")"
  echo "  compiled model on disk: $(size "$state/volume/compiled")"
  stop
  for _ in $(seq 50); do rmdir "$cgroup" 2>/dev/null && break; sleep 0.1; done
  cgroup=
}

measured 'first start' "${FIRST_LIMIT:-2147483648}"
measured 'next start' "${LIMIT:-1073741824}"
