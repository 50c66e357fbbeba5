# docker image build -t classify-images:0.0.1 .
# docker container run -p 8080:8080 -v clip:/.cache/clip classify-images:0.0.1
#
# Debian, as libav's binding needs glibc. For amd64 and arm64, each built on a machine of its kind or an emulator that
# also shows its /proc/cpuinfo (QEMU 8.2 or later), which ONNX Runtime reads as soon as it is loaded.
ARG BUN_VERSION=1.4.5
# Which images of these names: `deploy/pin-base-images.sh` writes their digests here, as your registry has them now.
# Without digests the build takes what the registry has at that time.
ARG BUN_DIGEST=
ARG DEBIAN_DIGEST=

FROM oven/bun:${BUN_VERSION}-slim${BUN_DIGEST} AS packages
WORKDIR /app
COPY package.json bun.lock bunfig.toml ./
# Install scripts are skipped: they fetch CUDA libraries and an ffmpeg program that nothing here uses.
RUN bun install --frozen-lockfile --production --ignore-scripts
RUN cd node_modules \
  # onnxruntime-node carries every platform's binaries.
  && find onnxruntime-node/bin -mindepth 3 -maxdepth 3 ! -path "*/linux/$(bun -p process.arch)" -exec rm -r {} + \
  # Elysia's types need TypeScript, node-av's WebRTC needs werift and all else here: the service neither.
  && rm -rf typescript @typescript werift* @fidm @leichtgewicht @minhducsun2002 @noble @peculiar @shinyoshiaki @types \
       aes-js asn1js base64-js buffer debug dns-packet fast-deep-equal generate-function int64-buffer ip \
       is-plain-object is-property isobject mediabunny mp4box multicast-dns pvtsutils pvutils reflect-metadata \
       supports-color thunky tslib tsyringe tweetnacl \
  # Declarations, sources and documents; licences stay.
  && find . -type f ! -iname 'licen[cs]e*' \
       \( -name '*.ts' -o -name '*.mts' -o -name '*.cts' -o -name '*.map' -o -name '*.md' \) -delete
# What is left must still load.
RUN bun -e 'for (const name of Object.keys(require("./package.json").dependencies)) await import(name)'

FROM debian:trixie-slim${DEBIAN_DIGEST}
LABEL org.opencontainers.image.title="classify-images" \
      org.opencontainers.image.description="Picture and video classification by plain words: CLIP over REST, on the CPU" \
      org.opencontainers.image.version="0.0.1" \
      org.opencontainers.image.licenses="MIT AND GPL-3.0-or-later"
# useradd notes the day, unless it is given one.
# Group 0 may write as well, for platforms that run containers under a user id of their own choice.
RUN SOURCE_DATE_EPOCH=0 useradd --uid 1000 --user-group --create-home --shell /bin/bash clip \
  && install -d -o clip -g 0 -m 0775 /.cache /.cache/clip
COPY --from=packages /usr/local/bin/bun /usr/local/bin/bun
# The transpiler's cache would be lost with the container, and needs a writable root file system.
# ONNX Runtime reports to its makers otherwise; it reads this where assignments to process.env do not arrive.
# Uploads fill the same memory again. Bun's allocator would give it to the system after 10 ms, which costs the main
# thread a quarter of its time for a large photo.
ENV NODE_ENV=production \
    BUN_RUNTIME_TRANSPILER_CACHE_PATH=0 \
    MIMALLOC_PURGE_DELAY=1000 \
    ORT_DISABLE_TELEMETRY=1
WORKDIR /app
# From what changes least to what changes most.
COPY --from=packages /app/node_modules node_modules
COPY LICENSE package.json bun.lock bunfig.toml ./
COPY models models
COPY native native
COPY src src
# What is inside, for scanners and for licence checks.
RUN bun src/sbom.ts --system > sbom.cdx.json && bun src/sbom.ts --notices > THIRD-PARTY-NOTICES.txt
# A number, so that platforms can see that it is not root.
USER 1000:1000
VOLUME /.cache/clip
EXPOSE 8080
# Asked past any proxy that the container is given for downloads.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
  CMD ["bun", "-e", "process.env.NO_PROXY = '127.0.0.1'; const answer = await fetch('http://127.0.0.1:' + (process.env.PORT || 8080) + '/health'); process.exit(answer.ok ? 0 : 1)"]
# No entry point, so that `docker container run -it classify-images:0.0.1 /bin/bash` gives a shell.
CMD ["bun", "src/main.ts"]
