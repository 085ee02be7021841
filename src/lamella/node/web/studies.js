/* The studies of the node, asked for every two seconds; only what changed is drawn anew, so that the focus stays. */
"use strict";

const LamellaStudies = (() => {
  const EVERY_MS = 2000;
  const NAMES = {
    incoming: "Receiving", ready: "Waiting", working: "Working", sending: "Sending", sent: "Done", refused: "Refused", failed: "Failed",
  };
  const TODO = {
    refused: "It was left as it is. Mend what is said here and send it again, or change the rules of the config and try again.",
    failed: "Try again. If it fails again, the node's log says more.",
  };
  const HASH = /\b([0-9a-f]{8})[0-9a-f]{24}\b/g; // stands for a UID
  const STAGES = {
    look: "looking through its images", read: "reading", load: "preparing", mean: "thinning", noise: "measuring noise",
    flow: "sampling texture", write: "writing", pictures: "drawing its page",
  };
  const list = document.getElementById("list"), trouble = document.getElementById("trouble"), told = document.getElementById("told");
  const drawn = new Map();
  let fresh = new Set(), waiting = 0;

  const element = (tag, className, text) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const short = (name) => name.slice(0, 8);
  const millimetres = (value) => `${Number(value.toFixed(2))} mm`;
  const number = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

  function grid({ slices, thickness_mm: thickness, spacing_mm: spacing }) {
    const every = spacing && Math.abs(spacing - thickness) > 0.01 ? ` every ${millimetres(spacing)}` : "";
    return `${number(slices, "slice")}${thickness ? ` of ${millimetres(thickness)}` : ""}${every}`;
  }

  function what(study) {
    const series = study.series || [], results = study.results || [];
    if (!series.length) return number(study.instances, "image");
    return series
      .map((one, n) => `${one.modality || "CT"}, ${grid(one)}${results[n] && results[n].slices ? ` \u2192 ${grid(results[n])}` : ""}`)
      .join("; ");
  }

  function duration(seconds) {
    if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
    return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
  }

  function progressLine(progress) {
    const box = element("div", "bar-line");
    const known = typeof progress.fraction === "number";
    const stage = STAGES[progress.stage.split(" ")[0]] || progress.stage;
    const words = [progress.of ? `series ${progress.series} of ${progress.of}` : "", stage];
    if (known) words.push(`${Math.round(100 * progress.fraction)} %`);
    if (known && progress.left_s !== null) words.push(`about ${duration(progress.left_s)} left${progress.whole ? "" : " of this step"}`);
    const bar = element("progress");
    bar.max = 1;
    if (known) bar.value = progress.fraction;
    bar.setAttribute("aria-label", "Progress of this step");
    box.append(element("span", "", words.filter(Boolean).join(", ")), bar);
    return box;
  }

  function peersLine(study) {
    const waits = (study.peers || []).filter((one) => !one.there || study.state === "sent");
    if (!waits.length || !["sending", "sent"].includes(study.state)) return null;
    const words = waits.map((one) => {
      if (one.there) return `sent to ${one.name}`;
      return one.tries ? `${one.name} did not take it ${number(one.tries, "time")}, next try in ${duration(one.wait_s)}` : `sending to ${one.name}`;
    });
    return element("p", "what", words.join("; "));
  }

  async function ask(study, verb, button, query = "") {
    if (button.ariaDisabled) return;
    button.ariaDisabled = "true"; // a button that is disabled loses the focus
    trouble.hidden = true;
    try {
      const answer = await fetch(`/studies/${study.name}/${verb}${query}`, { method: "POST" });
      if (!answer.ok) throw new Error((await answer.json()).error);
      told.textContent = `Study ${short(study.name)}: ${verb} asked for.`;
    } catch (error) {
      trouble.textContent = error.message;
      trouble.hidden = false;
    }
    button.ariaDisabled = null;
    refresh();
  }

  function act(label, key, className, does) {
    const button = element("button", className, label);
    button.type = "button";
    button.dataset.act = key;
    button.addEventListener("click", () => does(button));
    return button;
  }

  /** A button that asks once more in its own place. */
  function removal(study) {
    return act("Remove", "remove", "risky", (button) => {
      if (button.dataset.sure) return ask(study, "remove", button);
      button.dataset.sure = "yes";
      button.textContent = "Remove for good?";
      setTimeout(() => {
        delete button.dataset.sure;
        button.textContent = "Remove";
      }, 5000);
      return undefined;
    });
  }

  function acts(study, peers) {
    const row = element("div", "acts"), can = new Set(study.can);
    const link = (label, href, className) => {
      const made = element("a", `button ${className}`, label);
      made.href = href;
      made.dataset.act = label;
      row.append(made);
    };
    (study.results || []).forEach((one, n) => {
      const label = study.results.length > 1 ? `View series ${n + 1}` : "View";
      if (one.page) link(label, `/studies/${study.name}/report/${n + 1}`, "main");
    });
    if (can.has("download")) link("Download", `/studies/${study.name}/result.zip`, "");
    if (can.has("send")) {
      const box = element("span", "send"), select = element("select");
      select.setAttribute("aria-label", "Peer");
      select.dataset.act = "peer";
      for (const peer of peers) select.append(new Option(peer, peer));
      const send = (button) => ask(study, "send", button, `?peer=${encodeURIComponent(select.value)}`);
      box.append(act("Send to", "send", "", send), select);
      row.append(box);
    }
    if (can.has("retry")) row.append(act("Try again", "retry", "main", (button) => ask(study, "retry", button)));
    if (can.has("remove")) row.append(removal(study));
    for (const one of row.querySelectorAll("button, a")) one.setAttribute("aria-describedby", `name-${study.name}`);
    return row;
  }

  function draw(study, peers) {
    const item = element("li", `study${fresh.has(study.name.slice(0, 32)) ? " fresh" : ""}`);
    item.dataset.name = study.name;
    item.tabIndex = -1; // keeps the focus while it has no button
    item.dataset.state = study.state;
    const heading = element("h3"), state = element("span", "state", NAMES[study.state]);
    heading.id = `name-${study.name}`;
    heading.append(`Study ${short(study.name)}`, state, element("span", "", new Date(study.when * 1000).toLocaleString()));
    item.append(heading, element("p", "what", what(study)));
    (study.results || []).forEach((one, n) => {
      if (!one.picture) return;
      const picture = element("img", "picture");
      picture.src = `/studies/${study.name}/picture/${n + 1}`;
      picture.alt = "The same plane of the thick slices and of the thin ones";
      item.prepend(picture);
      item.classList.add("pictured");
    });
    const sending = peersLine(study);
    if (sending) item.append(sending);
    if (study.can.length) item.append(acts(study, peers));
    if (study.progress) item.append(progressLine(study.progress));
    if (study.reason && study.state !== "ready") {
      const why = element("p", "why", study.reason.replace(HASH, "series $1\u2026"));
      if (TODO[study.state]) why.append(element("span", "todo", TODO[study.state]));
      item.append(why);
    }
    return item;
  }

  function show(found) {
    const ready = document.getElementById("ready");
    ready.dataset.ready = found.ready ? "yes" : "no";
    ready.textContent = found.ready ? "ready" : `not ready: ${found.reason}`;
    const counts = Object.entries(NAMES).map(([state, name]) => {
      const item = element("li", "", `${name} `);
      item.append(element("b", "", String(found.counts[state])));
      return item;
    });
    document.getElementById("counts").replaceChildren(...counts);
    document.getElementById("none").hidden = found.studies.length > 0;
    const focused = document.activeElement?.dataset?.act, row = document.activeElement?.closest?.(".study")?.dataset.name;
    const items = found.studies.map((study) => {
      const key = JSON.stringify([study, found.peers, fresh.has(study.name.slice(0, 32))]);
      const before = drawn.get(study.name);
      if (before?.key === key) return before.item;
      if (before && before.state !== study.state) told.textContent = `Study ${short(study.name)}: ${NAMES[study.state]}.`;
      const item = draw(study, found.peers);
      drawn.set(study.name, { key, item, state: study.state });
      return item;
    });
    items.forEach((item, n) => {
      if (list.children[n] !== item) list.insertBefore(item, list.children[n] || null);
    });
    while (list.children.length > items.length) {
      const { name } = list.lastElementChild.dataset;
      if (drawn.get(name)?.item === list.lastElementChild) drawn.delete(name);
      list.lastElementChild.remove();
    }
    if (row && !list.contains(document.activeElement)) {
      const item = drawn.get(row)?.item;
      const target = item?.isConnected && (item.querySelector(`[data-act="${focused}"]`) || item.querySelector("[data-act]") || item);
      (target || document.getElementById("studies")).focus({ preventScroll: true });
    }
  }

  async function refresh() {
    clearTimeout(waiting);
    try {
      const answer = await fetch("/studies", { headers: { Accept: "application/json" } });
      if (answer.status === 401) return location.reload();
      show(await answer.json());
    } catch {
      const ready = document.getElementById("ready");
      ready.dataset.ready = "no";
      ready.textContent = "the node does not answer";
    }
    waiting = setTimeout(refresh, EVERY_MS);
    return undefined;
  }

  /** Marks what was just sent. */
  function mark(keys) {
    fresh = new Set([...keys].map((key) => key.slice(0, 32)));
    return refresh();
  }

  refresh();
  return { mark, number };
})();
