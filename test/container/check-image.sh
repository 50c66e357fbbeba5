#!/usr/bin/env bash
# Starts an image that build-with-buildah.sh made and checks what the Dockerfile promises.
#
#   test/container/check-image.sh [IMAGE [WORK_FOLDER]]
#
# Needs root on Linux with buildah, util-linux and curl. PORT (environment) must be free, 18080 by default.
set -euo pipefail
source "$(dirname "$0")/container.sh"

failed=0
check() { # check NAME COMMAND...
  if "${@:2}"; then echo "ok      $1"; else echo "FAILED  $1"; failed=1; fi
}
not() { ! "$@"; }
refused() { not contained "$@" 2>/dev/null; }

check 'runs as a user who is not root' grep --quiet --line-regexp '[1-9][0-9]*' <<<"$(contained id -u)"
check 'gives a shell' test "$(contained /bin/bash -c 'echo shell')" = shell
check 'can write the cache folder' contained touch /.cache/clip/probe
check 'cannot write its own files' refused touch src/main.ts
check 'loads every package' contained bun -e \
  'for (const name of Object.keys(require("./package.json").dependencies)) await import(name)'

check 'finds its port free' not healthy
start
await_health() {
  for _ in $(seq 60); do healthy && return; sleep 1; done
  return 1
}
check 'becomes healthy' await_health
answers() { # answers EXPECTED PATH FORM...
  local answer
  answer="$(post "$2" '' "${@:3}")"
  test "$answer" = "$1" || { echo "$answer"; return 1; }
}
picture="files=@$repository/test/golden/images/scene-640x480.jpg"
# The demo model knows colours and brightness.
labels='categories=["something bright","something dark"]'
check 'classifies a picture' answers '{"scene-640x480.jpg":"something bright"}' /categorize "$picture" "$labels"
check 'finds the best picture' answers '{"something bright":"scene-640x480.jpg"}' /image "$picture" \
  'categories=something bright'
# Its device id and queue would lie in the home folder, which is /tmp here.
check 'keeps no telemetry' test ! -e "/proc/$(pgrep --parent "$server")/root/tmp/.cache"
check 'exits with 0 on SIGTERM' stop
check 'is not healthy when nothing answers' not healthy

if [ "$failed" != 0 ]; then cat "$state/log"; fi
exit "$failed"
