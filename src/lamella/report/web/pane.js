/* One pane: a heading, the value at the cursor, and one canvas per plane with letters, ruler and crosshair. */
"use strict";

const LamellaPane = (() => {
  const { PLANES, PROJECTION, edges, indexAt, lettersOf, cut, taps, paint, css } = LamellaPlanes;
  const KEPT_PLANES = 8;
  const RULERS_MM = [200, 100, 50, 20, 10, 5, 2, 1];
  const INK = "#eef2f7", ACCENT = "#7cc7ff";

  const element = (tag, className, text) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  /** 12.5 or -12.5 with a true minus sign; a plus where differences are shown. */
  function signed(value, digits, plus) {
    const rounded = value.toFixed(digits);
    if (Number(rounded) === 0) return (0).toFixed(digits);
    return value < 0 ? `\u2212${rounded.slice(1)}` : (plus ? "+" : "") + rounded;
  }

  class Pane {
    /** @param viewer what all panes share; @param spec {id, label, role, ...}; @param number its key, from 1. */
    constructor(viewer, spec, number) {
      this.viewer = viewer;
      this.spec = spec;
      this.kind = spec.role === "error" || spec.role === "spread" ? spec.role : "grey";
      this.planes = new Map();
      this.views = [];
      this.root = element("section", `lv-pane lv-${spec.role}`);
      this.root.dataset.pane = spec.id;
      this.root.setAttribute("aria-label", spec.label);
      const head = element("header", "lv-head");
      if (viewer.options.keyboard && !viewer.options.anonymous) head.append(element("kbd", "lv-number", String(number)));
      this.facts = element("span", "lv-facts");
      this.value = element("output", "lv-value");
      this.value.setAttribute("aria-label", `Value at the cursor in ${spec.label}`);
      head.append(element("h3", "", spec.label), this.facts);
      if (viewer.options.readout) head.append(this.value);
      this.body = element("div", "lv-views");
      this.status = element("p", "lv-status", "Unpacking \u2026");
      this.root.append(head, this.body, this.status);
    }

    /** Takes what the pane shows: {volume, grid} or, for a difference, two of them on one grid. */
    fill(sources) {
      this.sources = sources;
      this.grid = sources[0].grid;
      this.status.hidden = true;
      if (!this.viewer.options.anonymous && this.spec.facts) this.facts.textContent = this.spec.facts;
      this.layout();
    }

    fail(message) {
      this.status.textContent = message;
      this.status.classList.add("lv-failed");
      this.status.hidden = false;
    }

    /** One canvas per plane; sizes follow from the pane's width and the patient's millimetres. */
    layout() {
      if (!this.sources) return;
      const all = this.viewer.plane === "all";
      const three = [PLANES.coronal, PLANES.sagittal, PLANES.axial, ...(this.viewer.options.projection ? [PROJECTION] : [])];
      const planes = all ? three : [PLANES[this.viewer.plane]];
      if (this.views.map((view) => view.plane.name).join() !== planes.map((plane) => plane.name).join()) {
        const focused = this.body.contains(document.activeElement);
        this.body.replaceChildren();
        this.views = planes.map((plane) => this.newView(plane));
        // Keys go on working after a change of plane.
        if (focused) this.views[0].canvas.focus({ preventScroll: true });
      }
      const [x, y, z] = this.viewer.box.map(([low, high]) => high - low);
      const width = this.body.clientWidth;
      if (!width) return;
      const gap = 2;
      this.body.classList.toggle("lv-all", all);
      const scale = all ? (width - gap) / (x + y) : width / (planes[0] === PLANES.sagittal ? y : x);
      this.body.style.gridTemplateColumns = all ? `${x}fr ${y}fr` : "1fr";
      const tallest = Math.max(220, Math.min(760, window.innerHeight * 0.72));
      for (const view of this.views) {
        const below = view.plane === PLANES.axial || view.plane === PROJECTION; // the second row is as high as an axial slice
        const wanted = Math.round(scale * (below ? y : z));
        view.canvas.style.height = `${all ? wanted : Math.min(tallest, wanted)}px`;
      }
      this.draw();
    }

    newView(plane) {
      const canvas = element("canvas", "lv-canvas");
      canvas.tabIndex = 0;
      canvas.dataset.plane = plane.name;
      canvas.setAttribute("role", "application");
      canvas.setAttribute("aria-roledescription", "image");
      canvas.setAttribute("aria-label", `${this.spec.label}, ${plane.slabMm ? "axial maximum projection" : plane.name}`);
      canvas.setAttribute("aria-describedby", this.viewer.keysId);
      this.body.append(canvas);
      const view = { plane, canvas, context: canvas.getContext("2d", { alpha: false }) };
      this.viewer.listen(this, view);
      return view;
    }

    draw() {
      if (!this.sources) return;
      for (const view of this.views) this.drawView(view);
      const value = this.valueAt(this.viewer.at);
      this.value.textContent = value === null ? "outside" : `${signed(value, this.digits, this.kind === "error")} HU`;
    }

    get digits() {
      return this.kind === "spread" ? 1 : 0;
    }

    /** HU of the voxel at a position in the frame, null outside. */
    valueAt(at) {
      if (!this.sources) return null;
      const places = this.grid.map((line, p) => indexAt(line, at[p]));
      if (Math.min(...places) < 0) return null;
      const offset = places.reduce((sum, index, p) => sum + index * this.grid[p].stride, 0);
      const values = this.sources.map(({ volume }) => volume.raw[offset] * volume.slope + volume.intercept);
      return values.length > 1 ? values[0] - values[1] : values[0];
    }

    /** HU of a plane of voxels; the last few are kept, so that windows and zoom do not cut again. */
    planeOf(plane, through) {
      const key = `${plane.name}${through}`;
      let hu = this.planes.get(key);
      if (!hu) {
        hu = plane.slabMm ? this.slab(plane, through) : this.cutAt(plane, through);
        this.planes.set(key, hu);
        if (this.planes.size > KEPT_PLANES) this.planes.delete(this.planes.keys().next().value);
      }
      return hu;
    }

    cutAt(plane, through) {
      const hu = cut(this.sources[0].volume, this.grid, plane, through);
      if (this.sources.length > 1) {
        const other = cut(this.sources[1].volume, this.grid, plane, through);
        for (let i = 0; i < hu.length; i++) hu[i] -= other[i];
      }
      return hu;
    }

    /** The largest value of each line through a slab; of a difference, that which is farthest from zero. */
    slab(plane, through) {
      const { step, count } = this.grid[plane.through];
      const reach = Math.round(plane.slabMm / 2 / Math.abs(step)), last = Math.min(count - 1, through + reach);
      const size = this.kind === "error" ? Math.abs : (v) => v;
      let most = null;
      for (let n = Math.max(0, through - reach); n <= last; n++) {
        const hu = this.cutAt(plane, n);
        if (most) for (let i = 0; i < hu.length; i++) if (size(hu[i]) > size(most[i])) most[i] = hu[i];
        most = most || hu;
      }
      return most;
    }

    drawView(view) {
      const { canvas, context, plane } = view;
      const ratio = Math.min(2, window.devicePixelRatio || 1);
      const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
      if (!width || !height) return;
      if (canvas.width !== width || canvas.height !== height) {
        canvas.width = width;
        canvas.height = height;
        view.image = context.createImageData(width, height);
        view.pixels = new Uint32Array(view.image.data.buffer);
      }
      view.ratio = ratio;
      view.pixel = this.viewer.pixelMm(plane, width, height);
      view.centre = this.viewer.centreOf(plane);
      const colours = this.viewer.coloursOf(this);
      const through = indexAt(this.grid[plane.through], this.viewer.at[plane.through]);
      if (through < 0) {
        view.pixels.fill(colours.blank);
      } else {
        const [right, down] = [this.grid[plane.right], this.grid[plane.down]];
        // Thick slices are drawn as they were measured: one value from edge to edge.
        const nearest = (line) => !this.viewer.smooth || (this.spec.role === "thick" && line.axis === 2);
        const across = taps(right, width, view.centre[0], view.pixel, plane.rightSign, nearest(right));
        const along = taps(down, height, view.centre[1], view.pixel, plane.downSign, nearest(down));
        const hu = this.planeOf(plane, through);
        paint(view.pixels, width, height, hu, right.count, down.count, across, along, colours);
      }
      context.putImageData(view.image, 0, 0);
      this.annotate(view, colours, through);
    }

    annotate({ context: c, canvas, plane, ratio, pixel, centre }, colours, through) {
      const { width, height } = canvas;
      const font = (size, weight = 500) => (c.font = `${weight} ${size * ratio}px system-ui, sans-serif`);
      const write = (text, x, y, align, baseline, colour = INK) => {
        c.textAlign = align;
        c.textBaseline = baseline;
        c.lineWidth = 3 * ratio;
        c.strokeStyle = "rgba(0,0,0,0.75)";
        c.strokeText(text, x, y);
        c.fillStyle = colour;
        c.fillText(text, x, y);
      };
      c.lineJoin = "round";
      if (this.viewer.cross) this.crosshair(c, { plane, width, height, pixel, centre, ratio });
      const inset = 7 * ratio;
      const axis = plane.through;
      const name = plane.slabMm ? `axial MIP ${plane.slabMm} mm,` : plane.name;
      const where = `${name} ${"xyz"[axis]} ${signed(this.viewer.at[axis], 1)} mm${through < 0 ? ": no slice here" : ""}`;
      font(11.5);
      const low = inset + c.measureText(where).width > width / 2 - 2 * inset ? 16 * ratio : 0; // the letter goes below the words
      font(13, 600);
      const [left, right, top, bottom] = lettersOf(plane, this.viewer.frame);
      write(left, inset, height / 2, "left", "middle");
      write(right, width - inset, height / 2, "right", "middle");
      write(top, width / 2, inset + low, "center", "top");
      write(bottom, width / 2, height - inset, "center", "bottom");
      font(11.5);
      write(where, inset, inset, "left", "top");
      this.ruler(c, { width, height, pixel, ratio, inset, write });
      if (this.kind !== "grey") this.colourBar(c, { width, height, ratio, inset, write, colours });
    }

    crosshair(c, { plane, width, height, pixel, centre, ratio }) {
      const x = ((this.viewer.at[plane.right] - centre[0]) * plane.rightSign) / pixel + width / 2;
      const y = ((this.viewer.at[plane.down] - centre[1]) * plane.downSign) / pixel + height / 2;
      const gap = 9 * ratio;
      c.strokeStyle = ACCENT;
      c.globalAlpha = 0.6;
      c.lineWidth = ratio;
      c.beginPath();
      for (const [x0, y0, x1, y1] of [[0, y, x - gap, y], [x + gap, y, width, y], [x, 0, x, y - gap], [x, y + gap, x, height]]) {
        c.moveTo(Math.round(x0) + 0.5, Math.round(y0) + 0.5);
        c.lineTo(Math.round(x1) + 0.5, Math.round(y1) + 0.5);
      }
      c.stroke();
      c.globalAlpha = 1;
    }

    ruler(c, { width, height, pixel, ratio, inset, write }) {
      const length = RULERS_MM.find((mm) => mm / pixel <= width / 4) || 1;
      const x = inset, y = height - inset - ratio, end = x + length / pixel;
      const ticks = length % 10 ? 1 : length / 10;
      c.beginPath();
      c.moveTo(x, y);
      c.lineTo(end, y);
      for (let n = 0; n <= ticks; n++) {
        const at = x + (n / ticks) * (end - x);
        c.moveTo(at, y);
        c.lineTo(at, y - (n === 0 || n === ticks ? 7 : 4) * ratio);
      }
      for (const [colour, thick] of [["rgba(0,0,0,0.75)", 3.5], [INK, 1.3]]) {
        c.strokeStyle = colour;
        c.lineWidth = thick * ratio;
        c.stroke();
      }
      write(length >= 10 ? `${length / 10} cm` : `${length} mm`, x, y - 10 * ratio, "left", "bottom");
    }

    colourBar(c, { width, height, ratio, inset, write, colours }) {
      const tall = Math.min(120 * ratio, height * 0.3), wide = 7 * ratio;
      const x = width - inset - wide, y = height - inset - tall - 8 * ratio;
      for (let i = 0; i < tall; i++) {
        c.fillStyle = css(colours, 1 - i / tall);
        c.fillRect(x, y + i, wide, 1);
      }
      c.strokeStyle = "rgba(238,242,247,0.6)";
      c.lineWidth = ratio;
      c.strokeRect(x - 0.5, y - 0.5, wide + 1, tall + 1);
      const plus = this.kind === "error";
      write(`${signed(colours.high, 0, plus)} HU`, x - 5 * ratio, y, "right", "middle");
      write(`${signed(colours.low, 0, plus)}`, x - 5 * ratio, y + tall, "right", "middle");
    }
  }

  return { Pane, element, signed };
})();
