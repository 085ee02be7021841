/* Planes cut out of volumes: which way up, which millimetres, which colours. No page, no canvas. */
"use strict";

const LamellaPlanes = (() => {
  /** Patient axes (0 x: left, 1 y: posterior, 2 z: head) that run right, down and through, and their signs: the patient's
      right is on the left, the front up (axial) or on the left (sagittal), the head up. */
  const PLANES = {
    axial: { name: "axial", right: 0, down: 1, through: 2, rightSign: 1, downSign: 1 },
    coronal: { name: "coronal", right: 0, down: 2, through: 1, rightSign: 1, downSign: -1 },
    sagittal: { name: "sagittal", right: 1, down: 2, through: 0, rightSign: 1, downSign: -1 },
  };
  /** An axial slab, of which the largest values are shown. */
  const PROJECTION = { ...PLANES.axial, name: "projection", slabMm: 20 };
  const LETTERS = [["R", "L"], ["A", "P"], ["I", "S"]];
  const PERMUTATIONS = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
  const PARALLEL = 0.9999;
  const TONES = 1024;

  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const column = (matrix, c) => matrix.map((row) => row[c]);
  const direction = (matrix, c) => {
    const vector = column(matrix, c);
    const length = Math.hypot(...vector);
    return vector.map((v) => v / length);
  };

  /** Three unit vectors in LPS, those of the volume's own axes, turned towards left, posterior and head. */
  function frameOf(matrix) {
    const axes = [0, 1, 2].map((c) => direction(matrix, c));
    const fit = (p) => Math.abs(axes[p[0]][0]) + Math.abs(axes[p[1]][1]) + Math.abs(axes[p[2]][2]);
    const best = PERMUTATIONS.reduce((a, b) => (fit(b) > fit(a) ? b : a));
    return best.map((c, p) => axes[c].map((v) => v * Math.sign(axes[c][p]) + 0));
  }

  /** Per axis of the frame, where the volume's voxels lie: {axis, count, start, step, stride}, in mm along that axis. */
  function gridOf(volume, frame) {
    const strides = [1, volume.shape[0], volume.shape[0] * volume.shape[1]];
    const origin = column(volume.matrix, 3);
    return frame.map((vector) => {
      const axis = [0, 1, 2].find((c) => Math.abs(dot(direction(volume.matrix, c), vector)) > PARALLEL);
      if (axis === undefined) throw new Error("This volume lies in another orientation than the first one.");
      const step = dot(column(volume.matrix, axis), vector);
      return { axis, count: volume.shape[axis], start: dot(origin, vector), step, stride: strides[axis] };
    });
  }

  /** Low and high edge along an axis of the frame, mm. */
  function edges(line) {
    const ends = [line.start - line.step / 2, line.start + line.step * (line.count - 0.5)];
    return [Math.min(...ends), Math.max(...ends)];
  }

  /** The voxel at a position, or -1 outside. */
  function indexAt(line, at) {
    const index = Math.round((at - line.start) / line.step);
    return index >= 0 && index < line.count ? index : -1;
  }

  /** Letters at left, right, top, bottom: the patient direction each edge of the picture points to. */
  function lettersOf(plane, frame) {
    const name = (vector) =>
      vector
        .map((v, i) => [Math.abs(v), LETTERS[i][v > 0 ? 1 : 0]])
        .filter(([size]) => size > 0.3)
        .sort((a, b) => b[0] - a[0])
        .slice(0, 2)
        .map(([, letter]) => letter)
        .join("");
    const right = frame[plane.right].map((v) => v * plane.rightSign);
    const down = frame[plane.down].map((v) => v * plane.downSign);
    return [right.map((v) => -v), right, down.map((v) => -v), down].map(name);
  }

  /** HU of one plane of voxels, right fastest, at index `through` of the plane's third axis. */
  function cut(volume, grid, plane, through) {
    const right = grid[plane.right], down = grid[plane.down];
    const out = new Float32Array(right.count * down.count);
    const { raw, slope, intercept } = volume;
    const base = through * grid[plane.through].stride;
    for (let y = 0, o = 0; y < down.count; y++) {
      for (let x = 0, i = base + y * down.stride; x < right.count; x++, i += right.stride) out[o++] = raw[i] * slope + intercept;
    }
    return out;
  }

  /** Where the pixels of a line of the picture fall on a line of voxels: lower and upper index and the upper's share. */
  function taps(line, size, centre, pixel, sign, nearest) {
    const low = new Int32Array(size), high = new Int32Array(size), share = new Float32Array(size);
    for (let i = 0; i < size; i++) {
      const at = (centre + sign * (i + 0.5 - size / 2) * pixel - line.start) / line.step;
      if (at < -0.5 || at >= line.count - 0.5) {
        low[i] = -1;
        continue;
      }
      const place = Math.min(line.count - 1, Math.max(0, nearest ? Math.round(at) : at));
      low[i] = Math.floor(place);
      high[i] = Math.min(line.count - 1, low[i] + 1);
      share[i] = place - low[i];
    }
    return { low, high, share };
  }

  /** Paints a plane of HU into 32-bit pixels: linear between voxels (or the nearest), then the table of colours. */
  function paint(pixels, width, height, hu, columns, rows, across, down, colours) {
    const { table, low, scale, blank } = colours;
    for (let y = 0, o = 0; y < height; y++) {
      if (down.low[y] < 0) {
        pixels.fill(blank, o, o + width);
        o += width;
        continue;
      }
      const upper = down.low[y] * columns, lower = down.high[y] * columns, v = down.share[y];
      for (let x = 0; x < width; x++, o++) {
        const left = across.low[x];
        if (left < 0) {
          pixels[o] = blank;
          continue;
        }
        const right = across.high[x], u = across.share[x];
        const top = hu[upper + left] + u * (hu[upper + right] - hu[upper + left]);
        const foot = hu[lower + left] + u * (hu[lower + right] - hu[lower + left]);
        const tone = (top + v * (foot - top) - low) * scale;
        pixels[o] = table[tone <= 0 ? 0 : tone >= TONES - 1 ? TONES - 1 : tone | 0];
      }
    }
  }

  /* Colours between which a table runs. Error: blue below, orange above, dark where there is none (colour-blind safe). */
  const STOPS = {
    grey: [[0, 0, 0], [255, 255, 255]],
    error: [[140, 205, 255], [58, 140, 214], [18, 60, 104], [14, 15, 18], [98, 50, 10], [222, 120, 30], [255, 190, 90]],
    spread: [[10, 10, 14], [52, 20, 92], [132, 32, 108], [212, 72, 66], [250, 150, 40], [250, 236, 150]],
  };

  /** A table of colours from `low` to `high` HU. */
  function coloursOf(kind, low, high) {
    const stops = STOPS[kind], table = new Uint32Array(TONES);
    for (let i = 0; i < TONES; i++) {
      const at = (i / (TONES - 1)) * (stops.length - 1), n = Math.min(stops.length - 2, Math.floor(at));
      const [r, g, b] = [0, 1, 2].map((c) => Math.round(stops[n][c] + (at - n) * (stops[n + 1][c] - stops[n][c])));
      table[i] = (255 << 24) | (b << 16) | (g << 8) | r;
    }
    return { table, low, high, scale: TONES / (high - low), blank: 0xff060504 };
  }

  const css = (colours, share) => {
    const value = colours.table[Math.round(share * (TONES - 1))];
    return `rgb(${value & 255},${(value >> 8) & 255},${(value >> 16) & 255})`;
  };

  return { PLANES, PROJECTION, dot, frameOf, gridOf, edges, indexAt, lettersOf, cut, taps, paint, coloursOf, css };
})();
