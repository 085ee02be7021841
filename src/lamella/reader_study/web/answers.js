/* The answers of a session: kept in this browser where it has room for them, saved to a file, read from one. */
"use strict";

class SessionAnswers {
  static KIND = "lamella reader-study answers";

  /** @param data of the page: study, reader, lamella, items. */
  constructor(data) {
    this.data = data;
    this.given = {};
    this.changed = false; // since they were last saved to a file
    this.stored = false; // in this browser
    this.room = `lamella-reader-${data.study}-${data.reader}`;
  }

  /** What is known of an item; made on first use. */
  of(item) {
    this.given[item.id] = this.given[item.id] || SessionAnswers.blank();
    return this.given[item.id];
  }

  static blank() {
    return { answer: null, milliseconds: 0, windows: [], planes: [] };
  }

  isComplete(item) {
    const answer = this.given[item.id] ? this.given[item.id].answer : null;
    if (answer === null) return false;
    return item.kind === "preference" || answer.every((mark) => mark !== null);
  }

  /** Places of the items that lack an answer. */
  open() {
    return this.data.items.map((item, place) => (this.isComplete(item) ? -1 : place)).filter((place) => place >= 0);
  }

  choose(item, side) {
    this.of(item).answer = side;
    this.changed = true;
  }

  /** Gives a mark to a question; returns the question that should come next. */
  rate(item, question, mark) {
    const found = this.of(item);
    found.answer = found.answer || this.data.questions.map(() => null);
    found.answer[question] = mark;
    this.changed = true;
    const open = found.answer.indexOf(null);
    return open >= 0 ? open : Math.min(question + 1, this.data.questions.length - 1);
  }

  content() {
    const { study, reader, lamella, items } = this.data;
    const known = items.filter((item) => this.given[item.id]);
    return {
      kind: SessionAnswers.KIND,
      study,
      reader,
      lamella,
      saved: new Date().toISOString(),
      complete: this.open().length === 0,
      items: known.map((item) => ({ id: item.id, ...this.given[item.id] })),
    };
  }

  /** Into this browser's storage, so that the session survives closing the page. */
  store(place) {
    try {
      localStorage.setItem(this.room, JSON.stringify({ ...this.content(), place, changed: this.changed }));
      this.stored = true;
    } catch {
      this.stored = false;
    }
  }

  /** The place at which the stored session stood, or null if there is none. */
  restore() {
    try {
      const found = JSON.parse(localStorage.getItem(this.room));
      if (found && this.take(found) === null) {
        this.stored = true;
        this.changed = Boolean(found.changed);
        return Math.max(0, Number(found.place) || 0);
      }
    } catch {
      /* no storage here, or nothing in it that can be read: the session starts afresh */
    }
    return null;
  }

  /** Takes answers from storage or a file; says what is wrong with them, or null. */
  take(found) {
    const { study, reader, items } = this.data;
    if (!found || found.kind !== SessionAnswers.KIND || !Array.isArray(found.items)) {
      return "This file holds no answers of a reader session.";
    }
    if (found.study !== study) return "These answers belong to another study.";
    if (found.reader !== reader) return `These answers are of reader ${found.reader}, this session is of ${reader}.`;
    const known = new Set(items.map((item) => item.id));
    if (found.items.some((one) => !known.has(one.id))) return "These answers are of other items.";
    this.given = Object.fromEntries(found.items.map(({ id, ...rest }) => [id, { ...SessionAnswers.blank(), ...rest }]));
    return null;
  }

  /** Takes a file that the reader chose; says what is wrong with it, or null. */
  async load(file) {
    let found = null;
    try {
      found = JSON.parse(await file.text());
    } catch {
      /* not JSON: `take` says so */
    }
    const fault = this.take(found);
    if (fault === null) this.changed = false;
    return fault;
  }

  /** Hands the file to the reader's downloads. */
  save() {
    const url = URL.createObjectURL(new Blob([JSON.stringify(this.content(), null, 1)], { type: "application/json" }));
    const link = document.createElement("a");
    link.href = url;
    link.download = `answers-${this.data.reader}.json`;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
    this.changed = false;
  }
}
