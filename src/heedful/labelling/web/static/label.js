// What JavaScript adds to the labelling form: keys, drafts, an outbox, times, and scrolling together.
// Without it the form works as it stands.
"use strict";

(() => {
  const form = document.getElementById("answer");
  if (!form) return;
  document.documentElement.classList.add("js");

  const status = document.getElementById("status");
  const groups = [...form.querySelectorAll("fieldset.group")];
  const shownAt = performance.now();
  const dwell = Number(form.dataset.dwell || 0);
  const slot = form.dataset.slot;
  const outbox = "heed-outbox";
  const say = (text) => { if (status) status.textContent = text; };
  let current = 0;
  let sending = false;

  // Times: by the clock, and of activity (a pause of more than thirty seconds is not work).
  let active = 0;
  let last = shownAt;
  const alive = () => {
    const moment = performance.now();
    if (!document.hidden) active += Math.min(moment - last, 30000);
    last = moment;
  };
  for (const name of ["keydown", "pointermove", "wheel", "scroll"]) addEventListener(name, alive, { passive: true, capture: true });

  // Groups: one is active, digits choose in it.
  const inputs = (group) => [...group.querySelectorAll("input[type=radio], input[type=checkbox]")];
  const visible = (group) => group.offsetParent !== null;
  const required = (group) => {
    const kind = group.dataset.required;
    if (kind !== "unsafe") return kind === "true";
    const unsafe = form.elements[group.dataset.with];
    return unsafe && unsafe.value === "unsafe";
  };
  const answered = (group) => {
    const text = group.querySelector("textarea");
    return text ? text.value.trim() !== "" : inputs(group).some((input) => input.checked);
  };
  const activate = (index) => {
    current = Math.max(0, Math.min(index, groups.length - 1));
    groups.forEach((group, place) => group.classList.toggle("active", place === current && groups.length > 1));
    groups[current].scrollIntoView({ block: "nearest" });
  };
  const step = (by) => {
    let next = current + by;
    while (groups[next] && !visible(groups[next])) next += by;
    if (groups[next]) activate(next);
  };
  const refresh = () => {
    for (const box of form.querySelectorAll(".safety")) {
      const chosen = box.querySelector("input[type=radio]:checked");
      box.classList.toggle("unsafe", Boolean(chosen && chosen.value === "unsafe"));
    }
  };
  const missing = () => groups.findIndex((group) => visible(group) && required(group) && !answered(group));

  // Drafts: half a second after the last change.
  let timer;
  const draft = () => {
    if (!slot) return;
    clearTimeout(timer);
    timer = setTimeout(async () => {
      if (sending) return;
      try {
        const done = await fetch(form.dataset.draft, { method: "POST", body: new URLSearchParams(new FormData(form)), headers: { accept: "application/json" } });
        say(done.ok ? "" : (await done.json()).detail);
      } catch { say("The server does not answer; your draft is on this page only."); }
    }, 500);
  };
  form.addEventListener("change", () => { refresh(); draft(); });
  form.addEventListener("input", (event) => { if (event.target.matches("textarea")) draft(); });

  // Sending: the answer lies in the outbox until the server says that it has it.
  const send = async (action, body) => {
    const done = await fetch(action, { method: "POST", body: new URLSearchParams(body), headers: { accept: "application/json" } });
    if (done.ok || done.status === 409 || done.status === 404) localStorage.removeItem(outbox);
    return done;
  };
  const submit = async () => {
    if (sending) return;
    const open = missing();
    if (open >= 0) { activate(open); say("This question is still open."); return; }
    sending = true;
    alive();
    clearTimeout(timer);
    if (form.elements.wall_ms) {
      form.elements.wall_ms.value = Math.round(performance.now() - shownAt);
      form.elements.active_ms.value = Math.round(active);
    }
    const body = [...new FormData(form)];
    if (slot) localStorage.setItem(outbox, JSON.stringify({ action: form.action, body }));
    const button = form.querySelector("button.primary");
    button.disabled = true;
    say("");
    try {
      const done = await send(form.action, body);
      if (done.redirected) { location.assign(done.url); return; }
      const said = await done.json();
      if (done.ok && !said.feedback) { location.assign(said.next || form.dataset.next); return; }
      if (done.ok) { show(said.feedback); return; }
      say(`${said.detail}.`);
      if (done.status === 409) say(`${said.detail}. It stays on this page; go on with the next item when you have read it.`);
    } catch { say("The server does not answer. Your answer is kept and will be sent again."); setTimeout(retry, 3000); }
    sending = false;
    button.disabled = false;
  };
  const show = (feedback) => {
    const box = document.createElement("p");
    box.className = `feedback ${feedback.right ? "right" : "wrong"}`;
    box.setAttribute("role", "status");
    box.textContent = `${feedback.right ? "As expected." : "Another answer was expected."} ${feedback.explanation} (Enter: go on)`;
    form.before(box);
    addEventListener("keydown", (event) => { if (event.key === "Enter") location.assign(form.dataset.next); });
  };
  const retry = async () => {
    const kept = localStorage.getItem(outbox);
    if (!kept) return;
    const { action, body } = JSON.parse(kept);
    try {
      const done = await send(action, body);
      if (done.ok) location.assign(form.dataset.next);
    } catch { setTimeout(retry, 10000); }
  };
  if (form.method === "post" && form.elements.client_key) {
    form.addEventListener("submit", (event) => { event.preventDefault(); submit(); });
  }

  // Keys.
  const option = (key) => [...groups[current].querySelectorAll(".option")].find((one) => one.querySelector("kbd")?.textContent === key);
  const choose = (key) => {
    const label = option(key);
    if (!label) return false;
    const input = label.querySelector("input");
    input.checked = input.type === "radio" ? true : !input.checked;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    if (input.type === "radio") {
      const only = groups.filter((one) => visible(one)).length === 1;
      if (only && slot) submit(); else step(1);
    }
    return true;
  };
  const toggle = (id) => {
    const box = document.getElementById(id);
    if (!box) return;
    box.open = !box.open;
    if (box.open) box.querySelector("select").focus();
  };
  const drawer = document.getElementById("guidelines");
  const guide = () => {
    if (!drawer) return;
    drawer.classList.toggle("open");
    if (drawer.classList.contains("open")) drawer.focus();
  };
  document.getElementById("guide")?.addEventListener("click", (event) => { event.preventDefault(); guide(); });
  drawer?.querySelector(".close a").addEventListener("click", (event) => { event.preventDefault(); guide(); });
  addEventListener("keydown", (event) => {
    if (event.repeat || event.altKey || event.metaKey) return;
    const typing = event.target.matches("textarea, select, input:not([type=radio]):not([type=checkbox])");
    if (event.key === "Escape") {
      if (drawer?.classList.contains("open")) guide();
      for (const id of ["skip", "flag"]) { const box = document.getElementById(id); if (box) box.open = false; }
      document.activeElement?.blur();
      return;
    }
    if (typing && !(event.ctrlKey && event.key === "Enter")) return;
    if (event.ctrlKey && event.key !== "Enter") return;
    const early = performance.now() - shownAt < dwell;
    if (sending || (early && (event.key === "Enter" || option(event.key)))) {
      event.preventDefault();
      if (early) say("Too soon to have read it: press the key again.");
      return;
    }
    if (event.target.matches("a, summary, button") && event.key === "Enter") return;
    const acts = {
      Enter: () => (form.elements.client_key ? submit() : form.requestSubmit()),
      ArrowDown: () => step(1), ArrowUp: () => step(-1), Tab: null,
      u: () => document.getElementById("undo")?.click(),
      s: () => toggle("skip"), f: () => toggle("flag"), g: guide, "?": guide,
      y: () => document.getElementById("sync")?.click(),
      r: () => document.getElementById("rationale")?.focus(),
    };
    if (choose(event.key)) { event.preventDefault(); return; }
    if (acts[event.key]) { event.preventDefault(); acts[event.key](); }
  });
  for (const [index, group] of groups.entries()) group.addEventListener("focusin", () => activate(index));

  // Responses scroll together, by share of their length.
  const panes = [...document.querySelectorAll(".response")];
  const sync = document.getElementById("sync");
  let leading = null;
  for (const pane of panes) {
    pane.addEventListener("pointerenter", () => { leading = pane; });
    pane.addEventListener("focus", () => { leading = pane; });
    pane.addEventListener("scroll", () => {
      if (!sync?.checked || leading !== pane) return;
      const share = pane.scrollTop / Math.max(1, pane.scrollHeight - pane.clientHeight);
      for (const other of panes) if (other !== pane) other.scrollTop = share * (other.scrollHeight - other.clientHeight);
    }, { passive: true });
  }

  refresh();
  activate(0);
  retry();
})();
