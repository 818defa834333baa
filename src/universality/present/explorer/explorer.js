"use strict";
// Asks /api/features and shows the answer. All text goes into the page as text, never as HTML.
const byId = (id) => document.getElementById(id);
const form = byId("form");
const status = byId("status");
const detail = byId("detail");
const rows = byId("rows");
const SIDES = ["a", "b"];
const OTHER = { a: "b", b: "a" };
let answer = null;
let marked = null; // { side, feature } under the pointer or the focus
let kept = null; // the same, after Enter or a click
let asked = 0;

const number = (value) => (value === 0 ? "0" : value.toPrecision(3).replace("-", "−"));
const fixed = (value) => value.toFixed(2).replace("-", "−");
const visible = (text) => text.replace(/\n/g, "↵").replace(/[\x00-\x1f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)));
const spaced = (text) => visible(text).replace(/ /g, "␣");

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== null) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function say(text, wrong = false) {
  status.textContent = text;
  status.classList.toggle("wrong", wrong);
}

async function ask() {
  const mine = ++asked;
  const button = form.querySelector("button");
  button.disabled = true;
  byId("result").classList.add("stale");
  say("Reading … (the first time a model is loaded)");
  let found = null;
  let problem = "";
  try {
    const response = await fetch("/api/features", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ text: byId("text").value, a: byId("a").value, b: byId("b").value }),
    });
    const body = await response.json();
    if (response.ok) found = body;
    else problem = body.error;
  } catch {
    problem = "the explorer does not answer; is `universality explore` still running?";
  }
  if (mine !== asked) return; // a later question is on its way
  button.disabled = false;
  byId("result").classList.remove("stale");
  if (found) show(found);
  else say(problem, true);
}

function show(found) {
  answer = found;
  marked = kept = null;
  byId("result").hidden = false;
  for (const side of SIDES) {
    const one = answer[side];
    byId("head-" + side).textContent = side.toUpperCase() + ": " + one.model + ", " + one.sae;
    const strip = byId("strip-" + side);
    strip.replaceChildren(element("b", side.toUpperCase()));
    one.tokens.forEach((token, i) => {
      strip.append(element("span", visible(token.text), { class: "token", "data-side": side, "data-token": i }));
    });
  }
  fill();
  const n = SIDES.map((side) => answer[side].tokens.length);
  say(
    n[0] + " tokens of A, " + n[1] + " of B, " + answer.pieces.length + " pieces that both cut out. " +
      (answer.pair ? "Partners: data/tables/matching/pairs/" + answer.pair + (answer.checked ? "." : ", if these tables are of these SAEs, which only data/features could tell.") : "No partners: " + answer.unmatched + ".")
  );
}

function fill() {
  const most = Number(byId("most").value);
  rows.replaceChildren(
    ...answer.pieces.map((piece) => {
      const row = document.createElement("tr");
      const head = element("th", null, { scope: "row" });
      head.append(element("code", spaced(piece.text)));
      row.append(head, ...SIDES.map((side) => cell(side, piece, most)));
      return row;
    })
  );
  const first = rows.querySelector(".chip");
  if (first) first.tabIndex = 0;
  mark(null);
}

function cell(side, piece, most) {
  const made = element("td", null, { "data-side": side.toUpperCase() });
  // What fires on the other side of this piece, not only what is shown of it.
  const partners = new Set(piece[OTHER[side]].flatMap((i) => answer[OTHER[side]].tokens[i].features.map(([id]) => id)));
  for (const i of piece[side]) {
    const token = answer[side].tokens[i];
    const line = element("div", null, { class: "reads" });
    if (piece[side].length > 1) line.append(element("code", spaced(token.text)));
    for (const [feature, value] of token.features.slice(0, most)) {
      line.append(chip(side, feature, value, token.text, partners.has(partnerOf(side, feature))));
    }
    const more = token.features.length - most;
    if (more > 0) line.append(element("small", "+ " + more));
    if (!token.features.length) line.append(element("small", "none fires"));
    made.append(line);
  }
  return made;
}

const partnerOf = (side, feature) => (answer[side].features[feature].partner || {}).feature;

function chip(side, feature, value, text, shared) {
  const made = element("button", null, {
    type: "button", class: "chip", tabindex: "-1", "data-side": side, "data-feature": feature,
    "aria-label": side.toUpperCase() + " feature " + feature + ", activation " + number(value) + " on " + spaced(text) + (shared ? "; its partner fires here too" : ""),
    "aria-pressed": "false",
  });
  made.append(element("b", String(feature)), element("small", number(value)));
  if (shared) made.append(element("span", "↔"));
  made.style.setProperty("--a", (value / answer[side].features[feature].highest).toFixed(2));
  return made;
}

// Mark a feature: its tokens in the strips, its chips, and those of its partner.
function mark(which) {
  marked = which || kept;
  const partner = marked ? partnerOf(marked.side, marked.feature) : undefined;
  for (const one of rows.querySelectorAll(".chip")) {
    const same = marked && one.dataset.side === marked.side && one.dataset.feature === marked.feature;
    one.classList.toggle("same", Boolean(same));
    one.classList.toggle("partner", Boolean(marked) && one.dataset.side !== marked.side && Number(one.dataset.feature) === partner);
    one.setAttribute("aria-pressed", String(Boolean(same && kept && kept.side === marked.side && kept.feature === marked.feature)));
  }
  for (const side of SIDES) {
    const feature = !marked ? null : side === marked.side ? Number(marked.feature) : partner;
    for (const token of byId("strip-" + side).querySelectorAll(".token")) {
      const fires = answer[side].tokens[token.dataset.token].features.find(([id]) => id === feature);
      token.classList.toggle("t", Boolean(fires));
      token.title = fires ? number(fires[1]) : "";
      if (fires) token.style.setProperty("--a", (fires[1] / answer[side].features[feature].highest).toFixed(2));
    }
  }
  explain(partner);
}

function explain(partner) {
  if (!marked) {
    detail.replaceChildren(element("p", "Point at a feature, or go to one with Tab and the arrow keys."));
    return;
  }
  const known = answer[marked.side].features[marked.feature];
  const lines = [element("h3", marked.side.toUpperCase() + " feature " + marked.feature)];
  lines.push(...about(marked.side, marked.feature));
  if (known.partner) {
    const { r, null_r, mutual } = known.partner;
    lines.push(element("h4", "Best partner: " + OTHER[marked.side].toUpperCase() + " feature " + partner));
    lines.push(element("p", "r " + fixed(r) + (null_r === null ? "" : ", null r " + fixed(null_r)) + (mutual ? "; mutual" : "")));
    lines.push(...about(OTHER[marked.side], partner));
  } else if (answer.pair) {
    lines.push(element("p", "No partner: it fires too rarely on the evaluation text."));
  }
  detail.replaceChildren(...lines);
}

function about(side, feature) {
  const one = answer[side];
  const { tokens, highest } = one.features[feature];
  const lines = [];
  if (tokens) {
    const line = element("p", tokens.length ? "Fires most on " : "Never fires on the evaluation text.");
    tokens.forEach((token, i) => line.append(i ? ", " : "", element("code", spaced(token))));
    lines.push(line);
  } else {
    lines.push(element("p", "Its tokens: not known without data/features/" + one.model + "."));
  }
  const here = one.tokens.filter((token) => token.features.some(([id]) => id === Number(feature)));
  lines.push(element("p", "Fires on " + here.length + " of " + one.tokens.length + " tokens here; highest activation " + number(highest) + "."));
  return lines;
}

const which = (target) => {
  const found = target.closest && target.closest(".chip");
  return found ? { side: found.dataset.side, feature: found.dataset.feature } : null;
};

if (form) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  byId("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      ask();
    }
  });
  for (const side of SIDES) byId(side).addEventListener("change", () => answer && ask());
  byId("most").addEventListener("change", () => answer && fill());
  rows.addEventListener("mouseover", (event) => which(event.target) && mark(which(event.target)));
  rows.addEventListener("mouseleave", () => mark(null));
  rows.addEventListener("focusin", (event) => {
    for (const other of rows.querySelectorAll(".chip[tabindex='0']")) other.tabIndex = -1;
    event.target.tabIndex = 0;
    mark(which(event.target));
  });
  rows.addEventListener("click", (event) => {
    const clicked = which(event.target);
    if (!clicked) return;
    const same = kept && kept.side === clicked.side && kept.feature === clicked.feature;
    kept = same ? null : clicked;
    mark(clicked);
  });
  rows.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      kept = null;
      mark(null);
      return;
    }
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const here = event.target;
    let next;
    if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
      const all = [...rows.querySelectorAll(".chip")];
      next = all[all.indexOf(here) + step];
    } else {
      // The first feature of the next token on the same side.
      const lines = [...rows.querySelectorAll(".reads")].filter((line) => {
        const one = line.querySelector(".chip");
        return one && one.dataset.side === here.dataset.side;
      });
      const line = lines[lines.indexOf(here.parentElement) + step];
      next = line && line.querySelector(".chip");
    }
    if (next) {
      event.preventDefault();
      next.focus();
    }
  });
}
