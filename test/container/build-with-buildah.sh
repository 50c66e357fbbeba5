#!/usr/bin/env bash
# Builds the Dockerfile without a Docker engine and without access to an image registry.
#
#   test/container/build-with-buildah.sh [IMAGE [WORK_FOLDER]]
#
# IMAGE         name of the result, classify-images:0.0.1 by default
# WORK_FOLDER   where images and base systems are kept between runs, a folder under /tmp by default
# STORAGE_DRIVER  (environment) overlay by default; vfs works everywhere, slowly
# SOURCE_DATE_EPOCH  (environment) seconds since 1970: the time of the image and of all its files, for builds that are
#               the same each time
# NO_CACHE      (environment) if set, no step of an earlier build is reused
#
# Needs root on Debian or Ubuntu with buildah, debootstrap and npm. The images that the Dockerfile starts from
# are made here under the same names: Debian's by debootstrap, Bun's from Bun's npm package. They are not the
# published ones byte for byte, so sizes differ by some megabytes.
# The machine's own npm settings and certificates are mounted while building: only empty mount points remain of them.
set -euo pipefail

repository="$(cd "$(dirname "$0")/../.." && pwd)"
image="${1:-classify-images:0.0.1}"
work="${2:-/tmp/classify-images-container}"
driver="${STORAGE_DRIVER:-overlay}"
certificates=/etc/ssl/certs

for program in buildah debootstrap npm; do
  command -v "$program" >/dev/null || { echo "$program is needed" >&2; exit 1; }
done
mkdir -p "$work"
b() { command buildah --root "$work/storage" --runroot "$work/run" --storage-driver "$driver" "$@"; }

value_of() { sed -n "s/^ARG $1=//p" "$repository/Dockerfile"; }
bun_version="$(value_of BUN_VERSION)"
suite="$(sed -nE 's/^FROM debian:([a-z]+)-slim.*/\1/p' "$repository/Dockerfile" | head -n 1)"

# Prints the folder of a Debian base system without documents and translations, as the slim images are.
debian_system() {
  local folder="$work/$suite"
  if [ ! -e "$folder/complete" ]; then
    rm -rf "$folder"
    debootstrap --variant=minbase "$suite" "$folder/root" >"$work/debootstrap.log"
    rm -rf "$folder"/root/var/lib/apt/lists/* "$folder"/root/var/cache/apt/*.bin \
      "$folder"/root/var/cache/apt/archives/*.deb "$folder"/root/var/log/* \
      "$folder"/root/usr/share/{man,info,locale,lintian,groff}/*
    find "$folder/root/usr/share/doc" -type f ! -name copyright -delete
    touch "$folder/complete"
  fi
  echo "$folder/root"
}

# Prints the path of the bun program that Bun's images have: the build that runs on any x64 processor.
bun_program() {
  local package folder="$work/bun-$bun_version"
  case "$(dpkg --print-architecture)" in
    amd64) package=bun-linux-x64-baseline ;;
    arm64) package=bun-linux-aarch64 ;;
    *) echo "Bun has no images for this machine" >&2; return 1 ;;
  esac
  if [ ! -e "$folder/package/bin/bun" ]; then
    mkdir -p "$folder"
    (cd "$folder" && tar -xzf "$(npm pack --silent "@oven/$package@$bun_version")")
  fi
  echo "$folder/package/bin/bun"
}

# make_image NAME [BUN]: a base image from the Debian system, with Bun where Bun's own images have it.
make_image() {
  b inspect --type image "$1" >/dev/null 2>&1 && return
  local container
  container="$(b from scratch)"
  b add --quiet "$container" "$(debian_system)" / >/dev/null
  if [ -n "${2:-}" ]; then
    b copy --quiet --chmod 755 "$container" "$2" /usr/local/bin/bun >/dev/null
  fi
  b config --cmd bash --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
  b commit --quiet --rm --format docker "$container" "$1" >/dev/null
}

make_image "docker.io/library/debian:$suite-slim"
make_image "docker.io/oven/bun:$bun_version-slim" "$(bun_program)"

# They may hold a password.
npm_settings="$(umask 077; mktemp)"
trap 'rm -f "$npm_settings"' EXIT
{ cat "$HOME/.npmrc" 2>/dev/null || true; echo "cafile=$certificates/ca-certificates.crt"; } >"$npm_settings"

b build --isolation chroot --format docker --pull-never --layers --tag "$image" \
  ${SOURCE_DATE_EPOCH:+--timestamp "$SOURCE_DATE_EPOCH"} ${NO_CACHE:+--no-cache} \
  --volume "$npm_settings:/root/.npmrc:ro" --volume "$certificates:$certificates:ro" "$repository"
echo "Built $image; use it with: buildah --root $work/storage --runroot $work/run --storage-driver $driver from $image"
