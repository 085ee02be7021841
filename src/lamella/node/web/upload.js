/* Files that are dropped or chosen go to the node one after the other; nothing but their bytes is sent. */
"use strict";

(() => {
  const { number, mark } = LamellaStudies;
  const part = (id) => document.getElementById(id);
  const drop = part("drop"), words = part("upload-words"), bar = part("upload-bar"), stop = part("upload-stop");
  let request = null, busy = false;

  /** All files of what was dropped, folders opened. */
  async function filesOf(items) {
    const found = [];
    const walk = async (entry) => {
      if (entry.isFile) found.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
      if (!entry.isDirectory) return;
      const reader = entry.createReader();
      for (;;) {
        const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
        if (!some.length) break;
        for (const one of some) await walk(one);
      }
    };
    for (const entry of items.map((item) => item.webkitGetAsEntry()).filter(Boolean)) await walk(entry);
    return found;
  }

  /** Sends one file; `hear` gets the lines of the answer as they come, `sent` the bytes. */
  function put(file, sent, hear) {
    return new Promise((resolve, reject) => {
      let read = 0;
      request = new XMLHttpRequest();
      request.open("PUT", "/files");
      request.upload.onprogress = (event) => sent(event.loaded);
      const lines = () => {
        const end = request.responseText.lastIndexOf("\n") + 1;
        for (const line of request.responseText.slice(read, end).split("\n")) if (line) hear(JSON.parse(line));
        read = Math.max(read, end);
      };
      request.onprogress = () => request.status === 200 && lines();
      request.onload = () => {
        if (request.status === 200) lines();
        else hear({ error: failure(request) });
        resolve();
      };
      request.onerror = () => reject(new Error("The node does not answer. Is it running?"));
      request.onabort = () => reject(new Error("Stopped."));
      request.send(file);
    });
  }

  function failure({ status, responseText }) {
    try {
      return JSON.parse(responseText).error;
    } catch {
      return `The node answered with ${status}.`;
    }
  }

  /** "files 1, 3 to 5" */
  function listed(numbers) {
    const runs = [];
    for (const one of numbers) {
      const last = runs[runs.length - 1];
      if (last && one === last[1] + 1) last[1] = one;
      else runs.push([one, one]);
    }
    const text = runs.map(([a, b]) => (a === b ? `${a}` : b === a + 1 ? `${a}, ${b}` : `${a} to ${b}`)).join(", ");
    return `file${numbers.length > 1 ? "s" : ""} ${text}`;
  }

  function showReasons(reasons) {
    const items = [...reasons].map(([reason, numbers]) => {
      const item = document.createElement("li");
      item.textContent = numbers.length ? `Not taken: ${listed(numbers)}, ${reason}` : reason;
      return item;
    });
    part("upload-reasons").replaceChildren(...items);
  }

  async function upload(files) {
    if (busy || !files.length) return;
    busy = true;
    part("upload").hidden = stop.hidden = false;
    const reasons = new Map(), keys = new Set();
    const total = files.reduce((sum, file) => sum + file.size, 0) || 1;
    let before = 0, kept = 0, known = 0, stopped = "";
    const refuse = (reason, at) => reasons.set(reason, [...(reasons.get(reason) || []), ...(at ? [at] : [])]);
    const say = (text) => {
      if (words.textContent !== text) words.textContent = text;
    };
    showReasons(reasons);
    try {
      for (const [n, file] of files.entries()) {
        await put(
          file,
          (bytes) => {
            bar.value = (before + bytes) / total;
            say(`Sending, ${Math.floor(100 * bar.value)} %`);
          },
          (line) => {
            if (line.key) keys.add(line.key);
            const several = files.length > 1;
            if (line.error) refuse(line.error, several ? n + 1 : 0);
            else if (!line.kept && line.of > 1) refuse(line.reason + (several ? ` (in ZIP ${n + 1})` : ""), line.file);
            else if (!line.kept) refuse(line.reason, n + 1);
            else if (line.reason) known += 1;
            else kept += 1;
            if (line.of > 1) {
              bar.value = line.file / line.of;
              say(`Checking, ${line.file} of ${line.of} files`);
            }
          },
        );
        before += file.size;
      }
    } catch (error) {
      stopped = error.message;
    }
    // What came of a study that is not whole waits for the rest, as it does on the network.
    if (!stopped && keys.size) {
      const answer = await fetch("/files/close", { method: "POST", body: JSON.stringify([...keys]) }).catch(() => null);
      if (!answer?.ok) refuse("The node did not hear that all is sent. It begins after a quiet time.", 0);
    }
    const studies = keys.size ? ` of ${keys.size === 1 ? "one study" : `${keys.size} studies`}` : "";
    const here = known ? ` ${number(known, "image")} had been here before.` : "";
    say(`${stopped} ${number(kept, "image")}${kept ? studies : ""} taken.${here}`.trim());
    bar.value = stopped ? bar.value : 1;
    stop.hidden = true;
    showReasons(reasons);
    busy = false;
    mark(keys);
  }

  for (const id of ["files", "folder"]) {
    const input = part(id);
    input.addEventListener("change", () => {
      upload([...input.files]).then(() => (input.value = ""));
    });
  }
  stop.addEventListener("click", () => request?.abort());
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
    upload(await filesOf(items));
  });
})();
