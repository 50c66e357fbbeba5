/** Small pictures drawn by code: they need no bytes of the page's download, and each has another main colour. */

/** The size in which they are drawn. */
const WIDTH = 480;
const HEIGHT = 360;
/** The files are smaller. */
const SCALE = 0.8;

type Point = readonly [x: number, y: number];

function createBrush(canvas: OffscreenCanvasRenderingContext2D) {
  const fill = (colour: string, draw: () => void) => {
    canvas.fillStyle = colour;
    canvas.beginPath();
    draw();
    canvas.fill();
  };
  return {
    /** From the top of the picture to its bottom. */
    backdrop(top: string, bottom: string) {
      const gradient = canvas.createLinearGradient(0, 0, 0, HEIGHT);
      gradient.addColorStop(0, top);
      gradient.addColorStop(1, bottom);
      canvas.fillStyle = gradient;
      canvas.fillRect(0, 0, WIDTH, HEIGHT);
    },
    /** A sphere is lighter at its upper left. */
    sphere(light: string, dark: string, [x, y]: Point, radius: number) {
      const at = (share: number) => [x - share * radius, y - share * radius] as const;
      const gradient = canvas.createRadialGradient(...at(0.4), radius * 0.1, x, y, radius);
      gradient.addColorStop(0, light);
      gradient.addColorStop(1, dark);
      fill('', () => {
        canvas.fillStyle = gradient;
        canvas.arc(x, y, radius, 0, 7);
      });
    },
    /** @param turn in radians */
    oval(colour: string, [x, y]: Point, [radiusX, radiusY]: Point, turn = 0) {
      fill(colour, () => canvas.ellipse(x, y, radiusX, radiusY, turn, 0, 7));
    },
    shape(colour: string, ...points: readonly Point[]) {
      fill(colour, () => {
        for (const point of points) canvas.lineTo(...point);
      });
    },
    box(colour: string, [x, y]: Point, [width, height]: Point, round = 0) {
      fill(colour, () => canvas.roundRect(x, y, width, height, round));
    },
    line(colour: string, width: number, from: Point, through: Point, to: Point) {
      canvas.strokeStyle = colour;
      canvas.lineWidth = width;
      canvas.lineCap = 'round';
      canvas.beginPath();
      canvas.moveTo(...from);
      canvas.quadraticCurveTo(...through, ...to);
      canvas.stroke();
    },
    text(colour: string, font: string, text: string, ...[x, y]: Point) {
      canvas.fillStyle = colour;
      canvas.font = font;
      canvas.fillText(text, x, y);
    },
  };
}

type Brush = ReturnType<typeof createBrush>;

const pictures: Readonly<Record<string, (brush: Brush) => void>> = {
  apples({ backdrop, sphere, oval, line }) {
    backdrop('#8d1420', '#b3202c');
    oval('#7a0f19', [240, 318], [205, 30]);
    for (const [x, y, radius] of [
      [150, 215, 96],
      [330, 220, 92],
      [240, 175, 104],
    ] as const) {
      sphere('#ff8a7a', '#c4101f', [x, y], radius);
      oval('#7d0a15', [x, y - radius * 0.82], [radius * 0.24, radius * 0.09]);
      line('#5b3a1c', 9, [x, y - radius * 0.8], [x, y - radius], [x + 14, y - radius - 24]);
      oval('#4f9a3c', [x + 40, y - radius - 12], [26, 11], -0.4);
    }
  },
  meadow({ backdrop, sphere, oval, shape, box }) {
    backdrop('#58a8ec', '#cfeaf7');
    sphere('#fffbe0', '#ffe27a', [392, 66], 34);
    for (const x of [70, 112, 150]) oval('#f4fbff', [x, 78 - (x % 4) * 7], [42, 20]);
    shape(
      '#6f93a5',
      [0, 190],
      [95, 95],
      [185, 180],
      [275, 110],
      [390, 190],
      [480, 150],
      [480, 240],
      [0, 240],
    );
    oval('#3f9a45', [110, 335], [330, 160]);
    oval('#2f8a39', [400, 350], [290, 165]);
    for (const [x, y, size] of [
      [90, 205, 1],
      [150, 222, 0.8],
      [365, 225, 1.2],
    ] as const) {
      box('#6a4526', [x - 5 * size, y], [10 * size, 36 * size]);
      oval('#1f6b2b', [x, y - 22 * size], [26 * size, 38 * size]);
    }
    for (let flower = 0; flower < 40; flower++) {
      const place: Point = [(flower * 0.618 * WIDTH) % WIDTH, 265 + ((flower * flower * 17) % 90)];
      oval(flower % 3 ? '#fff6c9' : '#f2d13c', place, [3, 3]);
    }
  },
  cat({ backdrop, sphere, oval, shape, line }) {
    backdrop('#f6c98a', '#d98a3d');
    oval('#e57f1d', [240, 345], [125, 110]);
    for (const side of [-1, 1]) {
      shape('#e57f1d', [240 + side * 112, 178], [240 + side * 96, 28], [240 + side * 20, 92]);
      shape('#f7b9a0', [240 + side * 92, 130], [240 + side * 86, 62], [240 + side * 44, 98]);
    }
    sphere('#ffb35e', '#e57f1d', [240, 182], 116);
    for (const side of [-1, 0, 1]) {
      line('#a9510c', 9, [240 + side * 30, 74], [240 + side * 26, 92], [240 + side * 20, 116]);
    }
    for (const side of [-1, 1]) {
      oval('#fdf3d6', [240 + side * 46, 170], [25, 22]);
      oval('#4c9a3a', [240 + side * 46, 170], [20, 20]);
      oval('#15130f', [240 + side * 46, 170], [7, 18]);
      oval('#ffffff', [240 + side * 46 + 5, 162], [4, 4]);
      oval('#fff0d8', [240 + side * 23, 232], [30, 23]);
      for (const y of [218, 232, 246]) {
        const ends = [240 + side * 190, y + (y - 232) * 2] as const;
        line('#fff8ec', 3, [240 + side * 50, y], [240 + side * 110, y - 6], ends);
      }
    }
    shape('#d85c6a', [224, 208], [256, 208], [240, 224]);
    line('#7a3a17', 4, [240, 224], [228, 246], [212, 240]);
    line('#7a3a17', 4, [240, 224], [252, 246], [268, 240]);
  },
  person({ backdrop, sphere, oval, box, line }) {
    backdrop('#8e5cc4', '#5c2f92');
    oval('#35204f', [240, 150], [104, 118]);
    box('#35204f', [138, 140], [204, 130], 50);
    oval('#6d35b5', [240, 390], [172, 130]);
    box('#e0a986', [208, 226], [64, 70], 26);
    sphere('#ffdcc2', '#e9b08c', [240, 166], 84);
    oval('#35204f', [232, 98], [80, 34], -0.12);
    for (const side of [-1, 1]) {
      oval('#ffffff', [240 + side * 32, 164], [16, 10]);
      oval('#4a2d17', [240 + side * 32, 164], [8, 8]);
      line('#4a2d17', 5, [240 + side * 18, 142], [240 + side * 32, 134], [240 + side * 48, 143]);
      oval('#f29a8a', [240 + side * 50, 196], [14, 9]);
    }
    line('#c98562', 4, [240, 170], [230, 194], [244, 196]);
    line('#a8323e', 7, [214, 216], [240, 238], [266, 216]);
  },
  letter({ backdrop, box, text, line }) {
    backdrop('#f1f0ec', '#dcdad4');
    box('#b9b6ae', [96, 22], [292, 338]);
    box('#ffffff', [90, 16], [292, 344]);
    text('#222222', 'bold 26px serif', 'INVOICE', 116, 62);
    text('#444444', '13px serif', 'No. 1024', 300, 62);
    for (let row = 0; row < 13; row++) {
      const width = row % 4 === 3 ? 120 : 200 + ((row * 37) % 40);
      box('#8c8c8c', [116, 92 + row * 16], [width, 4]);
    }
    box('#444444', [116, 304], [240, 2]);
    text('#222222', 'bold 17px serif', 'Total', 116, 328);
    text('#222222', 'bold 17px serif', '128.40', 300, 328);
    line('#27408f', 3, [216, 346], [250, 318], [276, 348]);
  },
  screen({ backdrop, box, oval, text }) {
    backdrop('#1d4fd8', '#2b6cf0');
    box('#e9eefb', [44, 30], [392, 268], 10);
    box('#1238a5', [44, 30], [392, 34], 10);
    for (const [index, colour] of ['#ff5f57', '#febc2e', '#28c840'].entries()) {
      oval(colour, [64 + index * 20, 47], [6, 6]);
    }
    box('#ffffff', [146, 38], [230, 18], 9);
    text('#5b6a8a', '12px sans-serif', 'https://example.org', 156, 51);
    box('#c9d7fb', [44, 64], [104, 234]);
    for (let row = 0; row < 7; row++) box('#3f6be0', [58, 82 + row * 28], [74, 12], 4);
    text('#12306e', 'bold 20px sans-serif', 'Settings', 168, 98);
    for (let row = 0; row < 4; row++) {
      box('#ffffff', [168, 114 + row * 34], [244, 26], 5);
      box('#7f93c4', [178, 124 + row * 34], [110, 6], 3);
      box(row % 2 ? '#b9c5de' : '#2b6cf0', [376, 120 + row * 34], [28, 14], 7);
    }
    box('#2b6cf0', [322, 258], [90, 28], 6);
    text('#ffffff', 'bold 13px sans-serif', 'Save', 350, 277);
    box('#0e2f8c', [0, 322], [WIDTH, 38]);
    for (let icon = 0; icon < 6; icon++) box('#7ea2ff', [150 + icon * 32, 330], [22, 22], 5);
  },
};

/** Draws the pictures. @returns JPEG files of at most 10 KB each */
export async function drawExamples(): Promise<File[]> {
  return await Promise.all(
    Object.entries(pictures).map(async ([name, paint]) => {
      const canvas = new OffscreenCanvas(SCALE * WIDTH, SCALE * HEIGHT);
      const context = canvas.getContext('2d');
      if (!context) throw new Error('the browser draws no canvas');
      context.scale(SCALE, SCALE);
      paint(createBrush(context));
      const blob = await canvas.convertToBlob({ type: 'image/jpeg', quality: 0.6 });
      // A fixed time, so that adding them again adds nothing.
      return new File([blob], `example-${name}.jpg`, { type: blob.type, lastModified: 0 });
    }),
  );
}
