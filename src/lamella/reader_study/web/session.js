/* A reader's session: one item at a time, by mouse or keyboard. It does not know how any image was made. */
"use strict";

(() => {
  const data = JSON.parse(document.getElementById("page-data").textContent);
  const SIDES = [["left", "Left", "1"], ["same", "Same", "2"], ["right", "Right", "3"]];
  const MARKS = [1, 2, 3, 4, 5];
  const INTRO = -1;
  const END = data.items.length;

  const answers = new SessionAnswers(data);
  const root = document.getElementById("session");
  const part = (name) => root.querySelector(`.rs-${name}`);
  let place = INTRO;
  let viewer = null;
  let stopwatch = null;
  let question = 0; // the one that a digit answers
  let view = {}; // window and plane, kept from item to item

  /** An element with properties, and children: elements or text. */
  function make(tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  const key = (name) => make("kbd", {}, name);

  function button(label, className, act) {
    const element = make("button", { type: "button", className }, ...[label].flat());
    element.addEventListener("click", act);
    return element;
  }

  /* ---- time on an item, while the page is seen; windows and planes used ---- */

  function stopTime() {
    if (stopwatch === null) return;
    const found = answers.of(stopwatch.item);
    found.milliseconds = Math.round(found.milliseconds + performance.now() - stopwatch.since);
    stopwatch = null;
  }

  function startTime() {
    const item = data.items[place];
    if (item && viewer && document.visibilityState === "visible") stopwatch = { item, since: performance.now() };
  }

  function pause() {
    stopTime();
    if (place > INTRO) answers.store(place);
  }

  function note(item) {
    if (!viewer || data.items[place] !== item) return;
    const shown = viewer.getWindow();
    view = { window: shown, plane: viewer.getPlane() };
    const { windows, planes } = answers.of(item);
    for (const [list, used] of [[windows, shown.name || `${shown.centre}/${shown.width}`], [planes, view.plane]]) {
      if (!list.includes(used)) list.push(used);
    }
  }

  /* ---- from item to item ---- */

  function head() {
    const done = END - answers.open().length;
    part("name").textContent = `Reader ${data.reader}`;
    part("bar").style.width = `${(100 * done) / END}%`;
    part("progress").setAttribute("aria-valuemax", END);
    part("progress").setAttribute("aria-valuenow", done);
    part("count").textContent = data.items[place] ? `Item ${place + 1} of ${END}` : `${END} items`;
    part("save").disabled = place === INTRO;
    part("saved").textContent = !answers.changed ? "" : answers.stored ? "Kept in this browser, not yet saved" : "Not yet saved";
  }

  function changed() {
    answers.store(place);
    head();
  }

  function go(to) {
    stopTime();
    if (viewer) viewer.destroy();
    viewer = null;
    place = Math.max(INTRO, Math.min(END, to));
    const item = data.items[place];
    part("note").textContent = item ? item.note : "";
    part("stage").replaceChildren(item ? itemScreen(item) : place === INTRO ? intro() : end());
    if (item) show(item);
    else part("stage").querySelector(".rs-primary").focus();
    if (place > INTRO) answers.store(place);
    head();
  }

  function save() {
    stopTime();
    answers.save();
    changed();
    startTime();
  }

  /* ---- the screens ---- */

  function intro() {
    const count = (kind) => data.items.filter((item) => item.kind === kind).length;
    const [rated, compared] = [count("likert"), count("preference")];
    const kinds = [rated && `${rated} single images to rate`, compared && `${compared} pairs to compare`].filter(Boolean);
    const earlier = answers.restore();
    const problem = make("p", { className: "rs-problem", role: "alert" });
    const file = make("input", { type: "file", accept: ".json,application/json", hidden: true });
    file.addEventListener("change", async () => {
      const fault = await answers.load(file.files[0]);
      file.value = ""; // so that the same file can be chosen again
      if (fault) problem.textContent = fault;
      else go(answers.open().concat(END)[0]);
    });
    return make("section", { className: "rs-sheet" },
      make("h1", {}, "Reader session"),
      make("p", {}, `${kinds.join(", then ")}. Nothing here says how an image was made. Some items come twice.`),
      make("ul", {},
        make("li", {}, "Take the time you would take for a real study. You can go back and change an answer."),
        rated ? make("li", {}, "Rate with ", key("1"), " to ", key("5"), `: ${data.anchors.join(", ")}.`) : "",
        compared ? make("li", {}, "Compare with ", key("1"), " left, ", key("2"), " same, ", key("3"), " right.") : "",
        make("li", {}, key("Enter"), " next item, ", key("Backspace"), " back. Scroll with the wheel; all planes follow a click."),
        make("li", {}, "At the end, save your answers and send the file to whoever gave you this page.")),
      earlier === null ? "" : make("p", { className: "rs-hint" },
        `Answers kept in this browser were found: ${END - answers.open().length} of ${END} items.`),
      problem,
      make("p", { className: "rs-actions" },
        button(earlier === null ? "Begin" : "Continue", "rs-primary rs-begin", () => go(earlier === null ? 0 : earlier)),
        button("Continue from a saved file", "", () => file.click()), file),
      make("p", { className: "rs-hint" },
        `${data.notice} This page works without a network and sends nothing.`));
  }

  function end() {
    const open = answers.open();
    const links = open.map((at) => button(String(at + 1), "", () => go(at)));
    return make("section", { className: "rs-sheet" },
      make("h1", {}, open.length ? "Not complete yet" : "All items are answered"),
      open.length ? make("p", {}, `${open.length} of ${END} ${open.length === 1 ? "items has" : "items have"} no complete answer yet:`) : "",
      open.length ? make("p", { className: "rs-open" }, ...links) : "",
      make("p", {}, `Save your answers (answers-${data.reader}.json) and send the file to whoever gave you this page. Thank you.`),
      make("p", { className: "rs-actions" }, button("Back", "", () => go(END - 1)), button("Save answers", "rs-primary", save)));
  }

  function itemScreen(item) {
    const compared = item.kind === "preference";
    return make("section", { className: compared ? "rs-item rs-pair" : "rs-item rs-single" },
      make("div", { className: "rs-viewer" }), compared ? comparison(item) : rating(item));
  }

  function steps() {
    return make("div", { className: "rs-steps" },
      button("Back", "rs-back", () => go(place - 1)),
      button([place === END - 1 ? "Finish " : "Next ", key("Enter")], "rs-next", () => go(place + 1)));
  }

  function comparison(item) {
    const choices = SIDES.map(([side, label, digit]) => {
      const choice = button([label, key(digit)], "rs-choice", () => choose(item, side));
      choice.dataset.answer = side;
      return choice;
    });
    return make("div", { className: "rs-ask" },
      make("h2", {}, data.preference), make("div", { className: "rs-choices" }, ...choices), steps());
  }

  function rating(item) {
    const rows = data.questions.map((words, row) => {
      const marks = MARKS.map((mark) => {
        const choice = button(String(mark), "rs-mark", () => rate(item, row, mark));
        choice.dataset.mark = mark;
        choice.setAttribute("aria-label", `${words}: ${mark}`);
        return choice;
      });
      const element = make("div", { className: "rs-question" }, make("h3", {}, words), make("div", { className: "rs-marks" }, ...marks));
      element.addEventListener("click", (event) => {
        if (event.target.closest("button")) return;
        question = row;
        press(item);
      });
      return element;
    });
    question = Math.max(0, (answers.of(item).answer || [null]).indexOf(null));
    return make("div", { className: "rs-ask" },
      make("h2", {}, "Rate this image"),
      make("p", { className: "rs-anchors" }, ...data.anchors.map((text) => make("span", {}, text))),
      ...rows, steps());
  }

  /** Puts an item's volumes into its viewer. */
  function show(item) {
    const pane = part("viewer");
    const labels = item.kind === "preference" ? ["Left", "Right"] : [""];
    const shown = LamellaViewer.create(pane, {
      volumes: item.volumes.map((id, side) => ({ id, label: labels[side], role: "thin", data: `#${id}` })),
      windows: data.windows,
      options: {
        ...{ show: item.volumes, plane: view.plane || "all", window: "soft-tissue", anonymous: true, minPanes: item.volumes.length },
        projection: false,
      },
    });
    viewer = shown;
    if (view.window) shown.setWindow(view.window);
    // Digits are answers here, not panes.
    for (const row of pane.querySelectorAll(".lv-keys dl > div")) if (row.firstChild.textContent === "1 to 9") row.remove();
    shown.onChange(() => note(item));
    shown.ready.then(() => {
      if (viewer !== shown) return;
      const faults = Object.values(shown.errors);
      if (faults.length) part("ask").prepend(make("p", { className: "rs-problem", role: "alert" }, faults.join(" ")));
      root.dataset.ready = item.id;
      note(item);
      startTime();
    });
    press(item);
  }

  /* ---- answers ---- */

  function choose(item, side) {
    answers.choose(item, side);
    changed();
    press(item);
  }

  function rate(item, row, mark) {
    question = answers.rate(item, row, mark);
    changed();
    press(item);
  }

  /** Shows an item's answer on its buttons. */
  function press(item) {
    const { answer } = answers.of(item);
    for (const choice of root.querySelectorAll(".rs-choice")) {
      choice.setAttribute("aria-pressed", String(choice.dataset.answer === answer));
    }
    root.querySelectorAll(".rs-question").forEach((element, row) => {
      element.classList.toggle("rs-active", row === question);
      for (const choice of element.querySelectorAll(".rs-mark")) {
        choice.setAttribute("aria-pressed", String(answer !== null && Number(choice.dataset.mark) === answer[row]));
      }
    });
    part("next").classList.toggle("rs-primary", answers.isComplete(item));
  }

  /** Keys of the session, taken before the viewer sees them. */
  function onKey(event) {
    const elsewhere = event.target.closest("select, input:not([type=range]), summary, .rs-head");
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || elsewhere) return;
    const item = data.items[place];
    if (!item) return;
    const side = SIDES.find(([, , digit]) => digit === event.key);
    if (event.key === "Enter") go(place + 1);
    else if (event.key === "Backspace") go(place - 1);
    else if (item.kind === "preference" && side) choose(item, side[0]);
    else if (item.kind === "likert" && MARKS.includes(Number(event.key))) rate(item, question, Number(event.key));
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  document.addEventListener("keydown", onKey, { capture: true });
  document.addEventListener("visibilitychange", () => (document.visibilityState === "visible" ? startTime() : pause()));
  window.addEventListener("pagehide", pause);
  window.addEventListener("beforeunload", (event) => {
    if (answers.changed) event.preventDefault();
  });
  part("save").addEventListener("click", save);
  document.documentElement.dataset.theme = "dark";
  root.hidden = false;
  go(INTRO);
})();
