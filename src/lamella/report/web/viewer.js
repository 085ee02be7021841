/* Linked panes of CT: one cursor in millimetres, one window, one zoom. LamellaViewer.create(root, {volumes, windows, options}). */
"use strict";

const LamellaViewer = (() => {
  const { PLANES, dot, frameOf, gridOf, edges, coloursOf } = LamellaPlanes;
  const { Pane, element } = LamellaPane;
  const DEFAULTS = { plane: "axial", controls: true, readout: true, anonymous: false, keyboard: true, minPanes: 1, errorHu: 200, projection: true };
  const SHARED_GRID_MM = 0.01;
  const ZOOM = 1.25, MOST_ZOOM = 16, LEAST_WIDTH_HU = 2;
  const LEAST_PANE_PX = 330, HEAD_PX = 32, STAGE_SHARE = 0.9;
  let made = 0;

  const nextTask = () => new Promise((resolve) => setTimeout(resolve));

  class Viewer {
    constructor(root, { volumes, windows, options = {} }) {
      this.root = root;
      this.options = { ...DEFAULTS, ...options };
      this.specs = new Map(volumes.map((spec) => [spec.id, spec]));
      this.windows = windows;
      this.loads = new Map();
      this.errors = {};
      this.marks = {};
      this.hearers = { cursor: new Set(), change: new Set() };
      this.plane = this.options.plane;
      this.window = windows.find((one) => one.name === this.options.window) || windows[0];
      this.errorHu = this.options.errorHu;
      this.zoom = 1;
      this.pan = null;
      this.smooth = this.cross = true;
      this.frame = this.box = this.at = null;
      this.keysId = `lv-keys-${++made}`;
      this.build(volumes);
      this.ready = this.show(this.options.show || volumes.map((spec) => spec.id));
    }

    build(volumes) {
      this.root.classList.add("lv");
      this.root.replaceChildren();
      this.panes = new Map(volumes.map((spec, n) => [spec.id, new Pane(this, spec, n + 1)]));
      this.stage = element("div", "lv-stage");
      this.live = element("p", "lv-live");
      this.live.setAttribute("aria-live", "polite");
      this.toolbar = this.options.controls ? new LamellaToolbar(this) : null;
      this.root.append(...(this.toolbar ? [this.toolbar.root] : []), this.stage, this.live);
      if (this.options.keyboard) this.root.append((this.keys = LamellaHands.keysDialog(this.keysId)));
      this.unlisten = LamellaHands.listenToKeys(this);
      this.observer = new ResizeObserver(() => this.layout());
      this.observer.observe(this.stage);
    }

    /** Which panes, in order; resolves when all of them are drawn or have failed. */
    async show(ids) {
      const known = ids.filter((id) => this.panes.has(id));
      this.shown = known.length >= this.options.minPanes ? known : this.shown || [...this.panes.keys()];
      this.stage.replaceChildren(...this.shown.map((id) => this.panes.get(id).root));
      this.layout();
      this.changed();
      for (const id of this.shown) {
        const pane = this.panes.get(id);
        if (pane.sources || this.errors[id]) continue;
        try {
          pane.fill(await this.sourcesOf(this.specs.get(id)));
          this.marks[id] = performance.now();
          performance.mark(`lamella-pane-${id}`);
        } catch (error) {
          this.errors[id] = error.message;
          pane.fail(error.message);
        }
        await nextTask();
      }
      if (this.at) this.moved();
    }

    async sourcesOf(spec) {
      if (!spec.derived) return [await this.load(spec.id)];
      const sources = [];
      for (const id of spec.derived.minus) sources.push(await this.load(id));
      const [a, b] = sources.map(({ volume }) => volume);
      const apart = Math.max(...a.matrix.flatMap((row, r) => row.map((v, c) => Math.abs(v - b.matrix[r][c]))));
      if (a.shape.join() !== b.shape.join() || apart > SHARED_GRID_MM) {
        throw new Error("The two volumes lie on different grids: their difference cannot be shown.");
      }
      return sources;
    }

    /** Unpacks a volume once. */
    load(id) {
      if (!this.loads.has(id)) {
        this.loads.set(
          id,
          LamellaNifti.read(this.specs.get(id).data).then((volume) => {
            this.frame = this.frame || frameOf(volume.matrix);
            const grid = gridOf(volume, this.frame);
            this.reach(grid);
            return { volume, grid };
          }),
        );
      }
      return this.loads.get(id);
    }

    /** Widens what is shown to a grid; the first one places the cursor. */
    reach(grid) {
      const own = grid.map(edges);
      const before = JSON.stringify(this.box);
      this.box = this.box ? this.box.map(([low, high], p) => [Math.min(low, own[p][0]), Math.max(high, own[p][1])]) : own;
      if (!this.at) {
        const middle = this.box.map(([low, high]) => (low + high) / 2);
        this.at = this.options.cursor ? this.frame.map((vector) => dot(vector, this.options.cursor)) : middle;
        this.keepInside();
      }
      if (before !== JSON.stringify(this.box)) this.layout();
    }

    keepInside() {
      this.at = this.at.map((at, p) => Math.min(this.box[p][1] - 1e-3, Math.max(this.box[p][0] + 1e-3, at)));
    }

    layout() {
      if (!this.box || !this.shown) return;
      const count = this.shown.length, fit = this.columns();
      const even = Math.ceil(count / Math.ceil(count / fit)); // rows as equal as can be, so that no pane is alone
      this.stage.style.gridTemplateColumns = `repeat(${even}, minmax(0, ${100 / fit}%))`;
      for (const id of this.shown) this.panes.get(id).layout();
    }

    /** How many panes side by side: as few, so as large, as fit the window together. */
    columns() {
      const [x, y, z] = this.box.map(([low, high]) => high - low);
      const aspect = { axial: y / x, coronal: z / x, sagittal: z / y, all: (z + y) / (x + y) }[this.plane];
      const width = this.stage.clientWidth, count = this.shown.length;
      const most = Math.max(1, Math.min(count, Math.floor(width / LEAST_PANE_PX)));
      for (let columns = 1; columns < most; columns++) {
        const height = (width / columns) * aspect + HEAD_PX;
        if (Math.ceil(count / columns) * height <= STAGE_SHARE * window.innerHeight) return columns;
      }
      return most;
    }

    redraw() {
      if (this.waiting) return;
      this.waiting = requestAnimationFrame(() => {
        this.waiting = 0;
        for (const id of this.shown) this.panes.get(id).draw();
      });
    }

    /** mm per pixel of a canvas: the whole box fits, times zoom. */
    pixelMm(plane, width, height) {
      const size = this.box.map(([low, high]) => high - low);
      return Math.max(size[plane.right] / width, size[plane.down] / height) / this.zoom;
    }

    centreOf(plane) {
      const centre = this.pan || this.box.map(([low, high]) => (low + high) / 2);
      return [centre[plane.right], centre[plane.down]];
    }

    coloursOf(pane) {
      const { centre, width } = this.window;
      const limits = {
        grey: [centre - width / 2, centre + width / 2],
        error: [-this.errorHu, this.errorHu],
        spread: pane.spec.range || [0, 100],
      }[pane.kind];
      const key = limits.join();
      if (pane.coloursKey !== key) {
        pane.coloursKey = key;
        pane.colours = coloursOf(pane.kind, ...limits);
      }
      return pane.colours;
    }

    listen(pane, view) {
      LamellaHands.listenToPointer(this, pane, view);
    }

    /** A preset's name, or {centre, width} in HU. */
    setWindow(wanted) {
      const named = typeof wanted === "string" ? this.windows.find((one) => one.name === wanted) : null;
      if (typeof wanted === "string" && !named) throw new Error(`Unknown window ${wanted}.`);
      const { centre, width } = named || wanted;
      const known = named || this.windows.find((one) => one.centre === centre && one.width === width);
      this.window = known || { name: "", label: "", centre, width: Math.max(LEAST_WIDTH_HU, width) };
      this.redraw();
      this.changed();
    }

    setPlane(plane) {
      if (plane !== "all" && !PLANES[plane]) throw new Error(`Unknown plane ${plane}.`);
      this.plane = plane;
      this.layout();
      this.changed();
    }

    setErrorRange(hu) {
      this.errorHu = hu;
      this.redraw();
      this.changed();
    }

    setSmooth(smooth) {
      this.smooth = smooth;
      this.redraw();
      this.changed();
    }

    setCross(cross) {
      this.cross = cross;
      this.redraw();
      this.changed();
    }

    /** Zooms about the cursor; 1 fits the whole. */
    setZoom(zoom) {
      const before = this.zoom;
      this.zoom = Math.min(MOST_ZOOM, Math.max(1, zoom));
      if (this.zoom === 1 || !this.at) {
        this.pan = null;
      } else {
        const centre = this.pan || this.box.map(([low, high]) => (low + high) / 2);
        this.pan = centre.map((c, p) => this.at[p] + ((c - this.at[p]) * before) / this.zoom);
      }
      this.redraw();
      this.changed();
    }

    zoomBy(steps) {
      this.setZoom(this.zoom * ZOOM ** steps);
    }

    /** LPS mm. */
    setCursor(mm) {
      if (!this.frame) {
        this.options.cursor = mm;
        return;
      }
      this.moveTo(this.frame.map((vector) => dot(vector, mm)));
    }

    getCursor() {
      return this.at && [0, 1, 2].map((p) => this.at.reduce((sum, at, axis) => sum + at * this.frame[axis][p], 0));
    }

    getWindow() {
      return { name: this.window.name, centre: this.window.centre, width: this.window.width };
    }

    getPlane() {
      return this.plane;
    }

    /** Positions in the frame; the cursor stays within what is shown. */
    moveTo(at) {
      this.at = at;
      this.keepInside();
      this.redraw();
      this.moved();
    }

    /** HU of a voxel at LPS mm, null outside or before it is unpacked. */
    valueAt(id, mm) {
      return this.frame ? this.panes.get(id).valueAt(this.frame.map((vector) => dot(vector, mm))) : null;
    }

    moved() {
      for (const hear of this.hearers.cursor) hear(this.getCursor());
      this.changed();
    }

    changed() {
      this.toolbar?.refresh();
      LamellaHands.announce(this);
      const state = { plane: this.plane, window: this.getWindow(), cursor: this.getCursor(), panes: this.shown };
      for (const hear of this.hearers.change) hear(state);
    }

    onCursor(hear) {
      this.hearers.cursor.add(hear);
      return () => this.hearers.cursor.delete(hear);
    }

    onChange(hear) {
      this.hearers.change.add(hear);
      return () => this.hearers.change.delete(hear);
    }

    destroy() {
      this.observer.disconnect();
      this.unlisten();
      cancelAnimationFrame(this.waiting);
      clearTimeout(this.speaking);
      this.loads.clear();
      this.root.replaceChildren();
      this.root.classList.remove("lv");
    }
  }

  return { create: (root, input) => new Viewer(root, input) };
})();
