/* How hands move the viewer: pointer, wheel, keys; and what is said aloud to those who cannot see it. */
"use strict";

const LamellaHands = (() => {
  const { PLANES } = LamellaPlanes;
  const { element, signed } = LamellaPane;
  const DRAG_HU = 2, SPEAK_MS = 500, LONG_STEP = 10, NOTCH_PX = 50;
  const KEYS = [
    ["\u2190 \u2192 \u2191 \u2193", "move the cursor (Shift: ten times as far)"],
    ["Page Up, Page Down", "next or previous slice; Home, End: first or last"],
    ["A C S M", "axial, coronal, sagittal, all three planes"],
    ["W, Shift+W", "next or previous window"],
    ["1 to 9", "one pane alone; again or 0: all of them"],
    ["+ \u2212 F", "larger, smaller, fit"],
    ["I", "smooth or single voxels"],
    ["X", "crosshair on or off"],
    ["?", "these keys"],
  ];
  const POINTER = [
    ["Click, drag", "move the cursor"],
    ["Wheel", "slices; with Ctrl: zoom"],
    ["Right drag", "window: across width, down centre"],
    ["Shift+drag, middle drag", "move the picture"],
  ];

  function keysDialog(id) {
    const box = element("dialog", "lv-keys");
    const title = element("h2", "", "Keys and mouse"), close = element("button", "", "Close");
    title.id = `${id}-title`;
    box.setAttribute("aria-labelledby", title.id);
    close.type = "button";
    close.autofocus = true;
    close.addEventListener("click", () => box.close());
    box.addEventListener("keydown", (event) => {
      event.stopPropagation(); // no key acts on what lies behind
      if (event.key === "?") box.close();
    });
    box.addEventListener("click", (event) => event.target === box && box.close()); // beside it
    const list = element("dl");
    list.id = id;
    for (const [key, does] of [...KEYS, ...POINTER]) {
      const row = element("div");
      row.append(element("dt", "", key), element("dd", "", does));
      list.append(row);
    }
    box.append(title, list, close);
    return box;
  }

  /** One slice of the pane's own grid, through the plane; positive towards rising coordinates. */
  function step(viewer, pane, plane, count) {
    const line = pane.grid[plane.through];
    const size = Math.abs(line.step);
    const at = [...viewer.at];
    const index = Math.round((at[plane.through] - line.start) / line.step) * Math.sign(line.step) + count;
    at[plane.through] = line.start + index * size;
    viewer.moveTo(at);
  }

  function listenToPointer(viewer, pane, { plane, canvas }) {
    const view = () => pane.views.find((one) => one.canvas === canvas);
    let drag = null, rolled = 0;
    const place = (event) => {
      const { ratio, pixel, centre } = view();
      const box = canvas.getBoundingClientRect();
      const at = [...viewer.at];
      at[plane.right] = centre[0] + plane.rightSign * ((event.clientX - box.left) * ratio - canvas.width / 2) * pixel;
      at[plane.down] = centre[1] + plane.downSign * ((event.clientY - box.top) * ratio - canvas.height / 2) * pixel;
      viewer.moveTo(at);
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (!viewer.at) return;
      canvas.focus({ preventScroll: true });
      canvas.setPointerCapture(event.pointerId);
      const kind = event.button === 2 ? "window" : event.button === 1 || event.shiftKey ? "pan" : "cursor";
      drag = { kind, x: event.clientX, y: event.clientY, window: viewer.getWindow(), pan: viewer.pan };
      if (kind === "cursor") place(event);
      event.preventDefault();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!drag) return;
      const across = event.clientX - drag.x, down = event.clientY - drag.y;
      if (drag.kind === "cursor") place(event);
      if (drag.kind === "window") {
        const { centre, width } = drag.window;
        viewer.setWindow({ centre: Math.round(centre + DRAG_HU * down), width: Math.max(2, Math.round(width + DRAG_HU * across)) });
      }
      if (drag.kind === "pan") {
        const { ratio, pixel } = view();
        const pan = [...(drag.pan || viewer.box.map(([low, high]) => (low + high) / 2))];
        pan[plane.right] -= plane.rightSign * across * ratio * pixel;
        pan[plane.down] -= plane.downSign * down * ratio * pixel;
        viewer.pan = pan;
        viewer.redraw();
      }
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (drag = null));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener(
      "wheel",
      (event) => {
        if (!viewer.at || !event.deltaY) return;
        event.preventDefault();
        // A touchpad sends many small turns, a wheel one of about 100 pixels or 3 lines.
        rolled += event.deltaMode ? event.deltaY * NOTCH_PX : event.deltaY;
        if (Math.abs(rolled) < NOTCH_PX) return;
        const up = rolled < 0 ? 1 : -1;
        rolled = 0;
        if (event.ctrlKey || event.metaKey) viewer.zoomBy(up);
        else step(viewer, pane, plane, up);
      },
      { passive: false },
    );
  }

  /** The pane and plane that keys act on: those with the focus, else the first. */
  function focused(viewer) {
    const panes = viewer.shown.map((id) => viewer.panes.get(id)).filter((pane) => pane.sources);
    for (const pane of panes) {
      const view = pane.views.find((one) => one.canvas === document.activeElement);
      if (view) return [pane, view.plane];
    }
    return panes.length ? [panes[0], panes[0].views[0]?.plane || PLANES.axial] : [null, null];
  }

  function moveInPlane(viewer, [pane, plane], right, down, far) {
    const at = [...viewer.at], count = far ? LONG_STEP : 1;
    at[plane.right] += right * plane.rightSign * Math.abs(pane.grid[plane.right].step) * count;
    at[plane.down] += down * plane.downSign * Math.abs(pane.grid[plane.down].step) * count;
    viewer.moveTo(at);
  }

  function toEnd(viewer, plane, last) {
    const at = [...viewer.at];
    at[plane.through] = viewer.box[plane.through][last ? 1 : 0];
    viewer.moveTo(at);
  }

  /** Shows one pane alone, and all of them again. */
  function solo(viewer, number) {
    const ids = [...viewer.panes.keys()];
    const id = ids[number - 1];
    const before = viewer.together || viewer.shown;
    if (number === 0 || (viewer.shown.length === 1 && viewer.shown[0] === id)) {
      viewer.together = null;
      return viewer.show(before);
    }
    if (!id) return undefined;
    viewer.together = before;
    return viewer.show([id]).then(() => viewer.panes.get(id).views[0]?.canvas.focus({ preventScroll: true }));
  }

  function nextWindow(viewer, steps) {
    const count = viewer.windows.length;
    const now = viewer.windows.findIndex((one) => one.name === viewer.window.name);
    viewer.setWindow(viewer.windows[(Math.max(0, now) + steps + count) % count].name);
  }

  function onKey(viewer, event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !viewer.at) return false;
    const where = focused(viewer);
    if (!where[0]) return false;
    const { key, shiftKey: far } = event;
    const onPicture = document.activeElement?.classList.contains("lv-canvas");
    const acts = {
      a: () => viewer.setPlane("axial"),
      c: () => viewer.setPlane("coronal"),
      s: () => viewer.setPlane("sagittal"),
      m: () => viewer.setPlane("all"),
      w: () => nextWindow(viewer, far ? -1 : 1),
      i: () => viewer.setSmooth(!viewer.smooth),
      x: () => viewer.setCross(!viewer.cross),
      f: () => viewer.setZoom(1),
      "+": () => viewer.zoomBy(1),
      "=": () => viewer.zoomBy(1),
      "-": () => viewer.zoomBy(-1),
    };
    // Arrows belong to lists and sliders unless a picture has the focus.
    const onPictureOnly = {
      ArrowLeft: () => moveInPlane(viewer, where, -1, 0, far),
      ArrowRight: () => moveInPlane(viewer, where, 1, 0, far),
      ArrowUp: () => moveInPlane(viewer, where, 0, -1, far),
      ArrowDown: () => moveInPlane(viewer, where, 0, 1, far),
      PageUp: () => step(viewer, ...where, 1),
      PageDown: () => step(viewer, ...where, -1),
      Home: () => toEnd(viewer, where[1], false),
      End: () => toEnd(viewer, where[1], true),
    };
    const act = acts[key.toLowerCase()] || (onPicture && onPictureOnly[key]);
    if (act) act();
    else if (/^[0-9]$/.test(key)) solo(viewer, Number(key));
    else return false;
    return true;
  }

  /** Keys act while the focus is in the viewer and not in a field; "?" everywhere on the page. */
  function listenToKeys(viewer) {
    if (!viewer.options.keyboard) return () => {};
    const typing = ({ target }) => target.matches("select, textarea, input:not([type=range]):not([type=checkbox])");
    const hear = (event) => {
      if (!typing(event) && onKey(viewer, event)) event.preventDefault();
    };
    const help = (event) => {
      if (event.key === "?" && !typing(event)) viewer.keys.showModal();
    };
    viewer.root.addEventListener("keydown", hear);
    document.addEventListener("keydown", help);
    return () => {
      viewer.root.removeEventListener("keydown", hear);
      document.removeEventListener("keydown", help);
    };
  }

  /** Says where the cursor is and what lies there, once it rests. */
  function announce(viewer) {
    clearTimeout(viewer.speaking);
    viewer.speaking = setTimeout(() => {
      if (!viewer.at || !viewer.options.readout) return;
      const values = viewer.shown.map((id) => `${viewer.specs.get(id).label} ${viewer.panes.get(id).value.textContent}`);
      const [x, y, z] = viewer.getCursor().map((v) => signed(v, 1));
      viewer.live.textContent = `x ${x}, y ${y}, z ${z} mm. ${values.join(", ")}.`;
    }, SPEAK_MS);
  }

  return { listenToPointer, listenToKeys, keysDialog, announce, step };
})();
