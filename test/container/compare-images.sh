#!/usr/bin/env bash
# Says which layers of two images differ, and in which files. Exit code 0 if all layers are the same.
#
#   SOURCE_DATE_EPOCH=0 NO_CACHE=1 test/container/build-with-buildah.sh one:1
#   SOURCE_DATE_EPOCH=0 NO_CACHE=1 test/container/build-with-buildah.sh two:1
#   test/container/compare-images.sh one:1 two:1 [WORK_FOLDER]
#
# Needs root on Linux with buildah, and images of build-with-buildah.sh.
set -euo pipefail

work="${3:-/tmp/classify-images-container}"
b() { command buildah --root "$work/storage" --runroot "$work/run" --storage-driver "${STORAGE_DRIVER:-overlay}" "$@"; }
layers() { b inspect --type image --format '{{range .OCIv1.RootFS.DiffIDs}}{{println .}}{{end}}' "localhost/$1" | sed '/^$/d'; }

if diff <(layers "$1") <(layers "$2") >/dev/null; then
  echo "The $(layers "$1" | wc -l) layers are the same:"
  layers "$1"
  exit 0
fi
echo 'Layers that differ:'
diff <(layers "$1") <(layers "$2") || true

containers=()
trap 'for container in "${containers[@]}"; do b umount "$container" >/dev/null; b rm "$container" >/dev/null; done' EXIT
listing() { # listing ROOT: type, mode, owner, time, size and checksum of each file
  (cd "$1" && find . -xdev -printf '%p %y %m %u:%g %T@ %l\n' | sort
    find . -xdev -type f -print0 | sort --zero-terminated | xargs --null sha256sum)
}
for image in "$1" "$2"; do
  container="$(b from --pull-never "localhost/$image")"
  containers+=("$container")
  listing "$(b mount "$container")" >"$work/files-${#containers[@]}"
done
echo 'Files that differ:'
diff "$work/files-1" "$work/files-2" | head -n 60
exit 1
