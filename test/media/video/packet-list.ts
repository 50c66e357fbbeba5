import type { PacketIndex } from '../../../src/media/video/video-file.ts';

export interface PacketRecipe {
  readonly bytes: number;
  readonly key?: boolean;
  readonly hidden?: boolean;
}

/** An index of packets that are shown one after another. */
export function packetIndex(packets: readonly PacketRecipe[], frameSeconds = 0.04): PacketIndex {
  const ticks = Float64Array.from(packets, (_, index) => index);
  return {
    count: packets.length,
    timestamps: ticks.map((tick) => tick * frameSeconds),
    pts: ticks,
    dts: ticks,
    sizes: Uint32Array.from(packets, ({ bytes }) => bytes),
    bytes: packets.reduce((sum, { bytes }) => sum + bytes, 0),
    keys: Uint8Array.from(packets, ({ key }) => (key ? 1 : 0)),
    restamped: new Map(),
    hidden: Uint8Array.from(packets, ({ hidden }) => (hidden ? 1 : 0)),
    start: 0,
    end: packets.length * frameSeconds,
    brokenOff: false,
  };
}

/** A keyframe and the packets after it, all alike but for some. */
export function group(
  length: number,
  bytes: { readonly key: number; readonly other: number },
  heavy: Readonly<Record<number, number>> = {},
): PacketRecipe[] {
  return Array.from({ length }, (_, index) =>
    index === 0 ? { bytes: bytes.key, key: true } : { bytes: heavy[index] ?? bytes.other },
  );
}
