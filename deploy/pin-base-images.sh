#!/usr/bin/env bash
# Writes the digests of the images that the Dockerfile starts from into it, as the registry has them now. From then on
# every build starts from the same bytes, until this runs again.
#
#   deploy/pin-base-images.sh [--remove]
#
# Needs docker with buildx, or skopeo. The digest is that of the list of all platforms, so it is the same for amd64 and
# arm64. Security fixes of Debian only arrive with a new digest: run it before each release, and commit the result.
set -euo pipefail

dockerfile="${DOCKERFILE:-$(dirname "$0")/../Dockerfile}"

digest_of() { # digest_of IMAGE
  if docker buildx version >/dev/null 2>&1; then
    docker buildx imagetools inspect "$1" --format '{{.Manifest.Digest}}'
  elif command -v skopeo >/dev/null; then
    skopeo inspect --raw "docker://$1" | sha256sum | sed 's/^\([0-9a-f]*\).*/sha256:\1/'
  else
    echo "docker with buildx, or skopeo, is needed" >&2
    return 1
  fi
}

# `FROM name:tag${NAME_DIGEST}`, with the value of BUN_VERSION put in.
bun_version="$(sed -n 's/^ARG BUN_VERSION=//p' "$dockerfile")"
changes=()
while read -r image argument; do
  digest=
  if [ "${1:-}" != --remove ]; then
    digest="$(digest_of "${image//'${BUN_VERSION}'/$bun_version}")"
    [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || { echo "No digest of $image: $digest" >&2; exit 1; }
    digest="@$digest"
  fi
  grep --quiet "^ARG $argument=" "$dockerfile"
  changes+=(--expression "s|^ARG $argument=.*|ARG $argument=$digest|")
  echo "$image$digest"
done < <(sed -nE 's/^FROM ([^ ]+)\$\{([A-Z]+_DIGEST)\}.*/\1 \2/p' "$dockerfile")
# All or none.
sed --in-place "${changes[@]}" "$dockerfile"
