/* What a report's page does: which case, and the viewer, started once the page can be read. */
"use strict";

(() => {
  const data = JSON.parse(document.getElementById("page-data").textContent);
  const place = document.getElementById("viewer");
  const state = (window.lamella = { viewer: null, case: null, ready: null, marks: {}, errors: {} });

  function show(id) {
    state.case = id;
    for (const part of document.querySelectorAll("[data-case]")) part.hidden = part.dataset.case !== id;
    const view = data.views.find((one) => one.case === id);
    const before = state.viewer;
    if (before) before.destroy();
    state.viewer = null;
    place.hidden = !view;
    if (!view) return;
    const kept = before ? { plane: before.getPlane() } : {};
    const input = { volumes: view.volumes, windows: data.windows, options: { ...view.options, ...kept } };
    state.viewer = LamellaViewer.create(place, input);
    if (before && before.getWindow().width) state.viewer.setWindow(before.getWindow());
    state.marks = state.viewer.marks;
    state.errors = state.viewer.errors;
    state.ready = state.viewer.ready;
  }

  function choose() {
    const chooser = document.getElementById("chooser");
    if (!chooser) return data.views[0]?.case;
    document.getElementById("chooser-place").append(chooser);
    const select = chooser.querySelector("select");
    select.addEventListener("change", () => show(select.value));
    return select.value;
  }

  /** Paper shows what is folded away. */
  function printing() {
    let opened = [];
    window.addEventListener("beforeprint", () => {
      opened = [...document.querySelectorAll("details:not([open])")];
      for (const one of opened) one.open = true;
    });
    window.addEventListener("afterprint", () => {
      for (const one of opened) one.open = false;
    });
  }

  printing();
  const first = choose();
  // One frame for the text, then the pictures.
  requestAnimationFrame(() => setTimeout(() => show(first)));
})();
