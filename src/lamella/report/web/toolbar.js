/* The viewer's controls: plane, window, panes, range of the error, slice; and where the cursor is. */
"use strict";

class LamellaToolbar {
  static PLANES = [["axial", "Axial"], ["coronal", "Coronal"], ["sagittal", "Sagittal"], ["all", "All three"]];
  static ERRORS_HU = [25, 50, 100, 200, 400];

  constructor(viewer) {
    const { element } = LamellaPane;
    this.viewer = viewer;
    this.root = element("div", "lv-toolbar");
    this.planes = this.group("Plane", LamellaToolbar.PLANES, (plane) => viewer.setPlane(plane));
    this.windows = this.group("Window", viewer.windows.map((one) => [one.name, one.label]), (name) => viewer.setWindow(name));
    this.centre = this.number("centre", "Window centre, HU", () => this.typed());
    this.width = this.number("width", "Window width, HU", () => this.typed());
    this.windows.root.append(this.centre.label, this.width.label);
    const panes = [...viewer.panes.values()].map((pane) => [pane.spec.id, pane.spec.label]);
    this.panes = this.group("Show", panes, (id) => this.toggle(id));
    this.place = element("output", "lv-place");
    this.root.append(this.planes.root, this.windows.root, ...(panes.length > viewer.options.minPanes ? [this.panes.root] : []));
    this.errors = this.errorRange();
    this.root.append(this.errors);
    this.slice = this.slider();
    this.root.append(this.slice.root, this.place);
    if (viewer.options.keyboard) this.root.append(this.help());
    this.refresh();
  }

  /** A named row of buttons; {root, buttons by key}. */
  group(name, entries, act) {
    const { element } = LamellaPane;
    const root = element("div", "lv-group");
    root.setAttribute("role", "group");
    root.setAttribute("aria-label", name);
    root.append(element("span", "lv-legend", name));
    const buttons = new Map();
    const row = element("span", "lv-buttons");
    for (const [key, label] of entries) {
      const button = element("button", "", label);
      button.type = "button";
      button.dataset.key = key;
      button.addEventListener("click", () => act(key));
      buttons.set(key, button);
      row.append(button);
    }
    root.append(row);
    return { root, buttons };
  }

  number(letter, label, act) {
    const { element } = LamellaPane;
    const box = element("label", "lv-number-field", letter);
    const input = element("input");
    input.type = "number";
    input.step = "10";
    input.setAttribute("aria-label", label);
    input.addEventListener("change", act);
    box.append(input);
    return { label: box, input };
  }

  typed() {
    const [centre, width] = [this.centre, this.width].map(({ input }) => input.valueAsNumber);
    if (Number.isFinite(centre) && width > 0) this.viewer.setWindow({ centre, width });
    else this.refresh();
  }

  toggle(id) {
    const order = [...this.viewer.panes.keys()];
    const shown = new Set(this.viewer.shown);
    if (!shown.delete(id)) shown.add(id);
    this.viewer.together = null;
    this.viewer.show(order.filter((one) => shown.has(one)));
  }

  errorRange() {
    const { element } = LamellaPane;
    const box = element("label", "lv-group", "");
    const select = element("select");
    for (const hu of LamellaToolbar.ERRORS_HU) select.append(new Option(`\u00b1${hu} HU`, hu, false, hu === this.viewer.errorHu));
    select.addEventListener("change", () => this.viewer.setErrorRange(Number(select.value)));
    box.append(element("span", "lv-legend", "Error colours"), select);
    return box;
  }

  help() {
    const button = LamellaPane.element("button", "lv-help", "Keys ?");
    button.type = "button";
    button.setAttribute("aria-haspopup", "dialog");
    button.addEventListener("click", () => this.viewer.keys.showModal());
    return button;
  }

  slider() {
    const { element } = LamellaPane;
    const root = element("label", "lv-group lv-slice");
    const input = element("input");
    input.type = "range";
    input.step = "any";
    input.setAttribute("aria-label", "Position of the plane, mm");
    input.addEventListener("input", () => {
      const at = [...this.viewer.at];
      at[LamellaPlanes.PLANES[this.viewer.plane].through] = input.valueAsNumber;
      this.viewer.moveTo(at);
    });
    root.append(element("span", "lv-legend", "Slice"), input);
    return { root, input };
  }

  refresh() {
    const { viewer } = this;
    const press = ({ buttons }, on) => {
      for (const [key, button] of buttons) button.setAttribute("aria-pressed", String(on(key)));
    };
    press(this.planes, (key) => key === viewer.plane);
    press(this.windows, (key) => key === viewer.window.name);
    press(this.panes, (key) => (viewer.shown || []).includes(key));
    this.centre.input.value = viewer.window.centre;
    this.width.input.value = viewer.window.width;
    this.slice.root.hidden = viewer.plane === "all";
    this.errors.hidden = !(viewer.shown || []).some((id) => viewer.specs.get(id).role === "error");
    if (!viewer.at) return;
    if (viewer.plane !== "all") {
      const { through } = LamellaPlanes.PLANES[viewer.plane];
      [this.slice.input.min, this.slice.input.max] = viewer.box[through];
      this.slice.input.value = viewer.at[through];
    }
    const names = [["L", "R"], ["P", "A"], ["S", "I"]];
    this.place.textContent = viewer
      .getCursor()
      .map((mm, p) => `${names[p][mm < 0 ? 1 : 0]} ${Math.abs(mm).toFixed(1)}`)
      .join("  ")
      .concat(" mm");
    this.place.title = "Position of the cursor in mm: left or right, posterior or anterior, superior or inferior";
  }
}
