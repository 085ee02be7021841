/* A gzip NIfTI-1 in base64 -> voxels and where they lie, in LPS millimetres (x left, y posterior, z head). */
"use strict";

const LamellaNifti = (() => {
  const HEADER_BYTES = 348;
  const TYPES = { 4: [Int16Array, 2], 16: [Float32Array, 4] };

  /** The text of a block, once the parser has passed it: the page starts before its volumes have arrived. */
  async function blockText(id) {
    for (;;) {
      const block = document.getElementById(id);
      if (block && (block.nextElementSibling || document.readyState !== "loading")) return block.textContent;
      if (!block && document.readyState !== "loading") throw new Error(`The page has no block ${id}.`);
      await new Promise((resolve) => setTimeout(resolve, 15));
    }
  }

  function fromBase64(text) {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
    const binary = atob(text);
    const bytes = new Uint8Array(binary.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
    return bytes;
  }

  async function inflate(bytes) {
    if (typeof DecompressionStream === "undefined") {
      throw new Error("This browser cannot unpack the volumes. Open the page in a browser of 2023 or later.");
    }
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
  }

  /** {shape: [nx, ny, nz], matrix: 3 rows of 4 (index -> LPS mm), raw, slope, intercept}; x runs fastest in raw. */
  function parse(buffer) {
    const view = new DataView(buffer);
    if (buffer.byteLength < HEADER_BYTES || view.getInt32(0, true) !== HEADER_BYTES) throw new Error("The volume is no NIfTI-1.");
    const shape = [1, 2, 3].map((n) => view.getInt16(40 + 2 * n, true));
    const [Type, width] = TYPES[view.getInt16(70, true)] || [];
    if (!Type) throw new Error(`The volume has NIfTI data type ${view.getInt16(70, true)}. Expected 4 or 16.`);
    const start = view.getFloat32(108, true);
    const count = shape[0] * shape[1] * shape[2];
    if (buffer.byteLength < start + count * width) throw new Error("The volume is cut off.");
    const raw = new Type(start % width ? buffer.slice(start) : buffer, start % width ? 0 : start, count);
    // NIfTI counts to the right and to the front: the first two rows change sign.
    const matrix = [0, 1, 2].map((row) =>
      [0, 1, 2, 3].map((column) => (row < 2 ? -1 : 1) * view.getFloat32(280 + 16 * row + 4 * column, true)),
    );
    return { shape, matrix, raw, slope: view.getFloat32(112, true) || 1, intercept: view.getFloat32(116, true) };
  }

  /** Decodes base64 text, or the block that "#id" names. */
  async function read(data) {
    const text = data.startsWith("#") ? await blockText(data.slice(1)) : data;
    return parse(await inflate(fromBase64(text.trim())));
  }

  return { read };
})();
