"use strict";
// Two maps of features, linked by their partners. All data are in the page; nothing is fetched.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const KINDS = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, i2: Int16Array, f4: Float32Array };
const UNIT = 65535, R_UNIT = 32767, LEVELS = 255;
const OTHER = { a: "b", b: "a" };
const PAD = 14, REACH = 14, N_NEAREST = 10, N_ROWS = 200, N_OTHERS = 8, SHADES = 16;

function unpack([kind, text]) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return new KINDS[kind](bytes.buffer);
}

// What is costly to unpack is unpacked when it is first shown.
function once(make) {
  const kept = new Map();
  return (...key) => {
    const name = key.join();
    if (!kept.has(name)) kept.set(name, make(...key));
    return kept.get(name);
  };
}

const textOf = once((side) => ({
  row: unpack(data[side].text), ends: unpack(data[side].ends), document: unpack(data[side].document),
}));

const layerOf = once((side, number) => {
  const packed = data[side].layers[number];
  const layer = { side, number, ...packed };
  for (const key of ["feature", "count", "x", "y", "word", "share", "row", "before", "after", "value", "level"]) {
    layer[key] = unpack(packed[key]);
  }
  layer.n = layer.feature.length;
  layer.place = new Map([...layer.feature].map((feature, i) => [feature, i]));
  // Where the levels of each context begin.
  layer.start = new Uint32Array(layer.row.length + 1);
  for (let i = 0; i < layer.row.length; i++) {
    const length = layer.row[i] ? layer.before[i] + 1 + layer.after[i] : 0;
    layer.start[i + 1] = layer.start[i] + length;
  }
  return layer;
});

// The pairs of one pairing as places on the maps, -1 where a feature is not among those drawn; `of`
// lists the pairs of each feature, best first.
const pairsOf = once((layers, pairing) => {
  const packed = data.pairs[layers][pairing];
  const [la, lb] = layers.split(",");
  const sides = { a: layerOf("a", la), b: layerOf("b", lb) };
  const found = { numbers: packed.numbers, r: unpack(packed.r), id: {}, at: {}, of: {} };
  found.n = found.r.length;
  const order = [...found.r.keys()].sort((i, j) => found.r[j] - found.r[i] || i - j);
  for (const side of ["a", "b"]) {
    found.id[side] = unpack(packed[side]);
    found.at[side] = Int32Array.from(found.id[side], (id) => sides[side].place.get(id) ?? -1);
    found.of[side] = Array.from({ length: sides[side].n }, () => []);
    for (const i of order) if (found.at[side][i] >= 0) found.of[side][found.at[side][i]].push(i);
  }
  return found;
});

const state = {
  layers: data.layers[0].slice(0, 2).join(), pairing: data.pairings[0][0], tool: "box",
  focus: null, picked: { side: "a", set: new Set() }, found: { a: new Set(), b: new Set() },
};
const now = { a: null, b: null, pairs: null };

function fixed(value) { return value.toFixed(2).replace("-", "−"); }
function count(n) { return n.toLocaleString("en"); }
function rOf(i) { return now.pairs.r[i] / R_UNIT; }
function nameOf(side, id) { return side.toUpperCase() + "/" + now[side].number + "/" + id; }
function wordsOf(side, i) {
  const k = data[side].n_words, layer = now[side], found = [];
  for (let j = i * k; j < (i + 1) * k; j++) {
    if (layer.word[j]) found.push([data[side].words[layer.word[j] - 1], layer.share[j]]);
  }
  return found;
}
function shortly(side, i) { return wordsOf(side, i).slice(0, 3).map(([word]) => shown(word)).join(" · "); }
function shown(word) { return word.replaceAll(" ", "␣"); }
function bestPair(side, i) { return now.pairs.of[side][i][0]; }
function bestR(side, i) { const pair = bestPair(side, i); return pair === undefined ? NaN : rOf(pair); }
function byR(side) {
  const r = Array.from({ length: now[side].n }, (_, i) => bestR(side, i));
  return [...r.keys()].sort((i, j) => (isNaN(r[i]) - isNaN(r[j])) || (r[j] - r[i]) || (i - j));
}

function make(tag, text, attributes) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
  return element;
}

// The colours of the style sheet, for the canvas.
let colors;
function readColors() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue("--" + name).trim();
  const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const low = rgb(of("low")), high = rgb(of("high"));
  const shade = (t) => "rgb(" + low.map((x, i) => Math.round(x + t * (high[i] - x))).join() + ")";
  colors = {
    paper: of("paper"), soft: of("soft"), partner: of("partner"), mark: of("mark"), link: of("link"),
    shades: Array.from({ length: SHADES }, (_, i) => shade(i / (SHADES - 1))),
  };
}

class Panel {
  constructor(side) {
    this.side = side;
    const figure = byId("panel-" + side);
    this.plane = figure.querySelector(".plane");
    this.points = figure.querySelector(".points");
    this.marks = figure.querySelector(".marks");
    this.tip = figure.querySelector(".tip");
    this.caption = figure.querySelector("figcaption");
    this.view = { scale: 1, x: 0.5, y: 0.5 };
    this.drag = null;
    this.marks.addEventListener("pointerdown", (event) => this.down(event));
    this.marks.addEventListener("pointermove", (event) => this.move(event));
    this.marks.addEventListener("pointerup", (event) => this.up(event));
    this.marks.addEventListener("pointercancel", () => this.stop());
    // A finger leaves at once; what it has touched stays named.
    this.marks.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch") this.tip.hidden = true; });
    this.marks.addEventListener("keydown", (event) => this.key(event));
    this.marks.addEventListener("focus", () => this.focused());
    this.marks.addEventListener("blur", () => { this.tip.hidden = true; drawMarks(); });
    this.marks.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      this.zoom(event.deltaY < 0 ? 1.25 : 0.8, this.at(event));
    }, { passive: false });
    for (const button of figure.querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", () => this.zoom(Number(button.dataset.zoom)));
    }
    new ResizeObserver(() => { this.fit(); this.draw(); this.mark(); }).observe(this.plane);
  }

  fit() {
    const ratio = window.devicePixelRatio || 1;
    this.size = this.plane.clientWidth;
    for (const canvas of [this.points, this.marks]) {
      canvas.width = canvas.height = Math.round(this.size * ratio);
      canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    this.layOut();
  }

  // Where each feature lies, and a grid to find those near the pointer.
  layOut() {
    const layer = now[this.side];
    if (!layer || !this.size) return;
    const room = (this.size - 2 * PAD) * this.view.scale, middle = this.size / 2;
    this.x = Float32Array.from(layer.x, (x) => middle + (x / UNIT - this.view.x) * room);
    this.y = Float32Array.from(layer.y, (y) => middle - (y / UNIT - this.view.y) * room);
    this.cells = new Map();
    for (let i = 0; i < layer.n; i++) {
      const cell = Math.floor(this.x[i] / REACH) + "," + Math.floor(this.y[i] / REACH);
      if (!this.cells.has(cell)) this.cells.set(cell, []);
      this.cells.get(cell).push(i);
    }
  }

  hit([px, py]) {
    const cx = Math.floor(px / REACH), cy = Math.floor(py / REACH);
    let best = -1, least = REACH * REACH;
    for (let gx = cx - 1; gx <= cx + 1; gx++) {
      for (let gy = cy - 1; gy <= cy + 1; gy++) {
        for (const i of this.cells.get(gx + "," + gy) || []) {
          const d = (this.x[i] - px) ** 2 + (this.y[i] - py) ** 2;
          if (d < least) { best = i; least = d; }
        }
      }
    }
    return best;
  }

  radius() { return Math.min(6, Math.max(2.2, this.size / 16 / Math.sqrt(now[this.side].n) + 1.2) * Math.sqrt(this.view.scale) ** 0.5); }

  draw() {
    const layer = now[this.side];
    if (!layer || !this.size) return;
    const context = this.points.getContext("2d"), radius = this.radius();
    context.clearRect(0, 0, this.size, this.size);
    const groups = Array.from({ length: SHADES + 1 }, () => []);
    for (let i = 0; i < layer.n; i++) {
      const r = bestR(this.side, i);
      groups[isNaN(r) ? 0 : 1 + Math.round(Math.max(0, r) * (SHADES - 1))].push(i);
    }
    // The strongest last, so that they lie on top.
    groups.forEach((members, group) => {
      const own = group ? radius : 0.75 * radius;
      context.beginPath();
      for (const i of members) {
        context.moveTo(this.x[i] + own, this.y[i]);
        context.arc(this.x[i], this.y[i], own, 0, 7);
      }
      if (group) {
        context.fillStyle = colors.shades[group - 1];
        context.fill();
        context.strokeStyle = colors.paper;
        context.lineWidth = 0.6;
      } else {
        context.strokeStyle = colors.soft;
        context.lineWidth = 0.6;
      }
      context.stroke();
    });
  }

  mark() {
    const layer = now[this.side];
    if (!layer || !this.size) return;
    const context = this.marks.getContext("2d"), radius = this.radius(), side = this.side;
    context.clearRect(0, 0, this.size, this.size);
    const ring = (i, extra, width, style) => {
      context.beginPath();
      context.arc(this.x[i], this.y[i], radius + extra, 0, 7);
      context.lineWidth = width + 2;
      context.strokeStyle = colors.paper;
      context.stroke();
      context.lineWidth = width;
      context.strokeStyle = style;
      context.stroke();
    };
    const disc = (i, extra) => {
      context.beginPath();
      context.arc(this.x[i], this.y[i], radius + extra, 0, 7);
      context.fillStyle = colors.partner;
      context.fill();
      context.lineWidth = 1;
      context.strokeStyle = colors.mark;
      context.stroke();
    };
    context.strokeStyle = colors.link;
    context.lineWidth = 1.5;
    for (const i of state.found[side]) {
      const half = radius + 2.5;
      context.strokeRect(this.x[i] - half, this.y[i] - half, 2 * half, 2 * half);
    }
    if (state.picked.side === side) for (const i of state.picked.set) ring(i, 1, 2, colors.mark);
    else for (const i of partnersOf(OTHER[side], state.picked.set)) disc(i, 0.5);
    if (state.focus) {
      if (state.focus.side === side) {
        ring(state.focus.i, 3, 3, colors.link);
      } else {
        for (const pair of now.pairs.of[OTHER[side]][state.focus.i]) {
          const i = now.pairs.at[side][pair];
          if (i >= 0) { disc(i, 2); ring(i, 5, 2, colors.partner); }
        }
      }
    }
    if (this.drag && this.drag.moved) {
      const path = this.drag.path;
      context.beginPath();
      for (const [x, y] of path) context.lineTo(x, y);
      context.closePath();
      context.fillStyle = colors.link;
      context.globalAlpha = 0.12;
      context.fill();
      context.globalAlpha = 1;
      context.strokeStyle = colors.link;
      context.lineWidth = 1.5;
      context.stroke();
    }
  }

  at(event) {
    const box = this.marks.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  down(event) {
    if (event.button !== 0) return;
    const start = this.at(event);
    this.drag = { start, path: [start], moved: false };
    // So that a drag may end outside.
    if (state.tool !== "look") this.marks.setPointerCapture(event.pointerId);
  }

  move(event) {
    const [x, y] = this.at(event);
    const drag = this.drag;
    if (drag && state.tool !== "look") {
      const [x0, y0] = drag.start;
      drag.moved ||= Math.hypot(x - x0, y - y0) > 4;
      if (drag.moved) {
        if (state.tool === "box") drag.path = [[x0, y0], [x, y0], [x, y], [x0, y]];
        else drag.path.push([x, y]);
        this.tip.hidden = true;
        this.mark();
        return;
      }
    }
    const i = this.hit([x, y]);
    if (i < 0) this.tip.hidden = true;
    else lookAt(this.side, i, false);
  }

  up(event) {
    const drag = this.drag;
    this.drag = null;
    if (!drag) return;
    if (drag.moved) {
      const inside = [];
      for (let i = 0; i < now[this.side].n; i++) if (within(drag.path, this.x[i], this.y[i])) inside.push(i);
      pick(this.side, inside, event.shiftKey);
      return;
    }
    const i = this.hit(this.at(event));
    if (i >= 0) lookAt(this.side, i, false);
    if (i >= 0 || !event.shiftKey) pick(this.side, i < 0 ? [] : [i], event.shiftKey);
  }

  stop() { this.drag = null; this.mark(); }

  zoom(factor, at) {
    const layer = now[this.side], focus = state.focus;
    if (!factor) this.view = { scale: 1, x: 0.5, y: 0.5 };
    else {
      const scale = Math.min(40, Math.max(1, this.view.scale * factor)), room = this.size - 2 * PAD;
      // What is under the pointer, or else the feature that is looked at, comes to lie where it was,
      // or else in the middle.
      if (at) {
        const gain = 1 / (room * this.view.scale) - 1 / (room * scale);
        this.view.x += (at[0] - this.size / 2) * gain;
        this.view.y -= (at[1] - this.size / 2) * gain;
      } else if (focus && focus.side === this.side) {
        this.view.x = layer.x[focus.i] / UNIT;
        this.view.y = layer.y[focus.i] / UNIT;
      }
      this.view.scale = scale;
      if (scale === 1) this.view.x = this.view.y = 0.5;
    }
    this.layOut();
    this.draw();
    this.mark();
  }

  // Bring a feature into view that zooming has moved out of it.
  show(i) {
    const edge = this.size - PAD / 2;
    if (Math.min(this.x[i], this.y[i]) > PAD / 2 && Math.max(this.x[i], this.y[i]) < edge) return;
    this.view.x = now[this.side].x[i] / UNIT;
    this.view.y = now[this.side].y[i] / UNIT;
    this.layOut();
    this.draw();
  }

  // Who only passes with Tab, on the way to the details, still finds there what was looked at.
  focused() {
    if (!this.marks.matches(":focus-visible")) return;
    if (!state.focus || state.focus.side === this.side) lookAt(this.side, this.entry(), true);
  }

  // Where the keyboard begins: what is looked at, or its partner, or else the feature of highest r.
  entry() {
    if (!state.focus) return byR(this.side)[0];
    if (state.focus.side === this.side) return state.focus.i;
    const pair = bestPair(OTHER[this.side], state.focus.i);
    const i = pair === undefined ? -1 : now.pairs.at[this.side][pair];
    return i < 0 ? byR(this.side)[0] : i;
  }

  // The nearest feature within 45 degrees of a direction; those straight ahead count as nearer.
  next(from, dx, dy) {
    let best = -1, least = Infinity;
    for (let i = 0; i < now[this.side].n; i++) {
      const x = this.x[i] - this.x[from], y = this.y[i] - this.y[from];
      const ahead = x * dx + y * dy, beside = Math.abs(x * dy) + Math.abs(y * dx);
      if (i === from || ahead <= 0 || beside > ahead) continue;
      const cost = ahead + 2 * beside;
      if (cost < least) { best = i; least = cost; }
    }
    return best;
  }

  nearest(i) {
    const d = (j) => (this.x[j] - this.x[i]) ** 2 + (this.y[j] - this.y[i]) ** 2;
    return [...now[this.side].feature.keys()].sort((j, k) => d(j) - d(k) || j - k).slice(0, N_NEAREST + 1);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const side = this.side;
    const i = this.entry(), here = state.focus && state.focus.side === side;
    const go = (j) => { if (j !== undefined && j >= 0) lookAt(side, here ? j : i, true); };
    const actions = {
      ArrowLeft: () => go(this.next(i, -1, 0)), ArrowRight: () => go(this.next(i, 1, 0)),
      ArrowUp: () => go(this.next(i, 0, -1)), ArrowDown: () => go(this.next(i, 0, 1)),
      Home: () => lookAt(side, byR(side)[0], true),
      PageDown: () => { const order = byR(side); go(order[order.indexOf(i) + 1]); },
      PageUp: () => { const order = byR(side); go(order[order.indexOf(i) - 1]); },
      " ": () => toggle(side, i), Enter: () => toggle(side, i),
      n: () => pick(side, this.nearest(i), false),
      p: () => goToPartner(side, i),
      Escape: () => pick(side, [], false),
      "+": () => this.zoom(1.5), "=": () => this.zoom(1.5), "-": () => this.zoom(1 / 1.5), "0": () => this.zoom(0),
    };
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  say(i) {
    const tip = this.tip, pair = bestPair(this.side, i), other = OTHER[this.side];
    tip.replaceChildren(make("strong", nameOf(this.side, now[this.side].feature[i])), " " + shortly(this.side, i), make("br"));
    tip.append(pair === undefined ? "no partner in this pairing" : "r " + fixed(rOf(pair)) + " with " + nameOf(other, now.pairs.id[other][pair]));
    tip.hidden = false;
    const right = this.x[i] > this.size / 2, low = this.y[i] > this.size / 2;
    const style = tip.style;
    style.left = right ? "" : this.x[i] + 12 + "px";
    style.right = right ? this.size - this.x[i] + 12 + "px" : "";
    style.top = low ? "" : this.y[i] + 12 + "px";
    style.bottom = low ? this.size - this.y[i] + 12 + "px" : "";
  }
}

function within(path, x, y) {
  let inside = false;
  for (let i = 0, j = path.length - 1; i < path.length; j = i++) {
    const [xi, yi] = path[i], [xj, yj] = path[j];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside;
  }
  return inside;
}

function partnersOf(side, set) {
  const found = new Set();
  for (const i of set) {
    for (const pair of now.pairs.of[side][i]) {
      const j = now.pairs.at[OTHER[side]][pair];
      if (j >= 0) found.add(j);
    }
  }
  return found;
}

function drawMarks() { panels.a.mark(); panels.b.mark(); }

// Look at a feature: its details and its partners' marks; `aloud` for screen readers, which follow
// the keyboard and not the pointer.
function lookAt(side, i, aloud) {
  const same = state.focus && state.focus.side === side && state.focus.i === i;
  state.focus = { side, i };
  panels[OTHER[side]].tip.hidden = true;
  panels[side].show(i);
  panels[side].say(i);
  if (!same) {
    details();
    drawMarks();
    remember();
  } else panels[side].mark();
  if (aloud) {
    const pair = bestPair(side, i), other = OTHER[side];
    const partner = pair === undefined ? "no partner" : "r " + fixed(rOf(pair)) + " with " + now.pairs.id[other][pair];
    byId("spoken").textContent = "Feature " + now[side].feature[i] + " of " + side.toUpperCase() + ": " + shortly(side, i) + "; " + partner;
  }
}

function goToPartner(side, i) {
  const pair = bestPair(side, i), other = OTHER[side];
  const j = pair === undefined ? -1 : now.pairs.at[other][pair];
  if (j < 0) { byId("spoken").textContent = "No partner on the map."; return; }
  state.focus = { side: other, i: j };
  panels[other].marks.focus({ preventScroll: true });
  lookAt(other, j, true);
  details();
  drawMarks();
}

function details() {
  const box = byId("details");
  if (!state.focus) { box.replaceChildren(make("p", "Point at a feature, or move to a map with Tab and use the arrow keys.", { class: "hint" })); return; }
  const { side, i } = state.focus, other = OTHER[side];
  const own = described(side, i);
  const pairs = now.pairs.of[side][i];
  const second = make("div", undefined, { class: "partner" });
  if (!pairs.length) second.append(make("p", "It has no partner in this pairing."));
  else {
    const id = now.pairs.id[other][pairs[0]], j = now.pairs.at[other][pairs[0]];
    const line = make("p");
    line.append("Partner: r ", make("strong", fixed(rOf(pairs[0]))), ", null " + fixed(now.pairs.numbers.median_r_null) + " (median)");
    second.append(line);
    if (j >= 0) second.append(described(other, j));
    else second.append(make("h3", nameOf(other, id)), make("p", "It is not among the features drawn for the map."));
    if (pairs.length > 1) {
      second.append(make("p", "It is the partner of " + pairs.length + " features; the others" + (pairs.length > N_OTHERS + 1 ? ", the first " + N_OTHERS : "") + ":"));
      const list = make("div", undefined, { class: "others" });
      for (const pair of pairs.slice(1, N_OTHERS + 1)) {
        const k = now.pairs.at[other][pair];
        const button = make("button", now.pairs.id[other][pair] + " (" + fixed(rOf(pair)) + ")", { type: "button" });
        button.disabled = k < 0;
        button.addEventListener("click", () => { lookAt(other, k, true); });
        list.append(button);
      }
      second.append(list);
    }
  }
  box.replaceChildren(own, second);
}

function described(side, i) {
  const layer = now[side], box = make("div");
  box.append(make("h3", nameOf(side, layer.feature[i])));
  const tokens = make("p", undefined, { class: "tokens" });
  for (const [word, share] of wordsOf(side, i)) {
    tokens.append(tokens.hasChildNodes() ? " · " : "", make("code", shown(word)), " " + share + "%");
  }
  box.append(tokens, make("p", "Fires on " + count(layer.count[i]) + " of " + count(data[side].n_rows) + " positions.", { class: "where" }));
  const list = make("ol", undefined, { class: "examples" });
  const c = data[side].n_contexts;
  for (let slot = 0; slot < c; slot++) {
    const k = i * c + slot;
    if (layer.row[k]) list.append(contextOf(side, k, slot));
  }
  box.append(list);
  return box;
}

function contextOf(side, k, slot) {
  const layer = now[side], text = textOf(side), peak = layer.row[k] - 1;
  const first = peak - layer.before[k], last = peak + layer.after[k];
  const item = make("li"), line = make("p", undefined, { class: "context", dir: "auto" });
  const kind = slot < data.n_top ? "top" : "drawn";
  item.append(make("span", layer.value[k].toPrecision(3), { class: "value" }), make("span", kind + ", document " + text.document[peak], { class: "where" }), line);
  if (!(text.ends[first] & 1)) line.append(make("span", "…", { class: "cut" }));
  for (let row = first; row <= last; row++) {
    const level = layer.level[layer.start[k] + row - first], token = data[side].strings[text.row[row]];
    if (!level) { line.append(token); continue; }
    // The space ahead of a token stays outside: at the end of a line it would be an empty frame.
    const bare = token.trimStart() || token;
    line.append(token.slice(0, token.length - bare.length));
    const shade = make(row === peak ? "mark" : "span", bare, { class: "t" });
    shade.style.setProperty("--a", (level / LEVELS).toFixed(2));
    line.append(shade);
  }
  if (!(text.ends[last] & 2)) line.append(make("span", "…", { class: "cut" }));
  return item;
}

function toggle(side, i) {
  const kept = state.picked.side === side ? new Set(state.picked.set) : new Set();
  if (!kept.delete(i)) kept.add(i);
  pick(side, [...kept], false);
}

function pick(side, members, add) {
  const kept = add && state.picked.side === side ? state.picked.set : [];
  state.picked = { side, set: new Set([...kept, ...members]) };
  drawMarks();
  list();
}

function list() {
  const { side, set } = state.picked, other = OTHER[side], partners = partnersOf(side, set);
  byId("clear").hidden = !set.size;
  const without = [...set].filter((i) => !now.pairs.of[side][i].length).length;
  byId("selected").textContent = !set.size ? "Nothing is selected."
    : count(set.size) + (set.size === 1 ? " feature of " : " features of ") + side.toUpperCase() + (set.size === 1 ? " is" : " are") + " selected; " + count(partners.size)
      + (partners.size === 1 ? " partner in " : " partners in ") + other.toUpperCase() + (partners.size === 1 ? " is" : " are") + " marked"
      + (without ? "; " + count(without) + " without a partner." : ".");
  const box = byId("rows");
  box.replaceChildren();
  if (!set.size) return;
  const order = [...set].sort((i, j) => (bestR(side, j) || -2) - (bestR(side, i) || -2) || i - j);
  const table = make("table"), head = make("tr"), body = make("tbody"), top = make("thead");
  for (const [text, kind] of [["feature of " + side.toUpperCase()], ["tokens"], ["r", "n"], ["partner in " + other.toUpperCase()], ["tokens"]]) {
    head.append(make("th", text, kind ? { scope: "col", class: kind } : { scope: "col" }));
  }
  top.append(head);
  for (const i of order.slice(0, N_ROWS)) {
    const row = make("tr"), pair = bestPair(side, i);
    const j = pair === undefined ? -1 : now.pairs.at[other][pair];
    row.append(linked(side, i, now[side].feature[i]), make("td", shortly(side, i)));
    row.append(make("td", pair === undefined ? "" : fixed(rOf(pair)), { class: "n" }));
    row.append(pair === undefined ? make("td", "none") : linked(other, j, now.pairs.id[other][pair]), make("td", j < 0 ? "" : shortly(other, j)));
    body.append(row);
  }
  table.append(top, body);
  box.append(table);
  if (order.length > N_ROWS) box.append(make("p", "The " + N_ROWS + " of highest r, of " + count(order.length) + ".", { class: "where" }));
}

function linked(side, i, id) {
  const cell = make("td");
  if (i < 0) { cell.textContent = id + " (not on the map)"; return cell; }
  const button = make("button", String(id), { type: "button" });
  button.addEventListener("click", () => lookAt(side, i, true));
  cell.append(button);
  return cell;
}

function search() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const line = byId("found");
  for (const side of ["a", "b"]) {
    state.found[side] = new Set();
    if (!words.length) continue;
    for (let i = 0; i < now[side].n; i++) {
      const own = wordsOf(side, i), id = String(now[side].feature[i]);
      if (words.every((word) => word === id || own.some(([token]) => token.includes(word)))) state.found[side].add(i);
    }
  }
  drawMarks();
  line.replaceChildren();
  if (!words.length) return;
  line.append("Found " + count(state.found.a.size) + " of " + count(now.a.n) + " in A, " + count(state.found.b.size) + " of " + count(now.b.n) + " in B (framed).");
  for (const side of ["a", "b"]) {
    const button = make("button", "Select those of " + side.toUpperCase(), { type: "button" });
    button.disabled = !state.found[side].size;
    button.addEventListener("click", () => pick(side, [...state.found[side]], false));
    line.append(button);
  }
}

function firstFound() {
  for (const side of ["a", "b"]) {
    const best = byR(side).find((i) => state.found[side].has(i));
    if (best !== undefined) { lookAt(side, best, true); return; }
  }
}

function change() {
  const [la, lb] = state.layers.split(",");
  const before = { a: now.a, b: now.b };
  const focus = state.focus && now[state.focus.side].feature[state.focus.i];
  now.a = layerOf("a", la);
  now.b = layerOf("b", lb);
  const judged = data.pairs[state.layers];
  const pairing = byId("pairing");
  for (const option of pairing.options) option.disabled = !(option.value in judged);
  if (!(state.pairing in judged)) state.pairing = data.pairings[0][0];
  pairing.value = state.pairing;
  now.pairs = pairsOf(state.layers, state.pairing);
  // A feature number means another feature in another layer.
  if (state.focus && before[state.focus.side] !== now[state.focus.side]) state.focus = null;
  else if (state.focus) state.focus.i = now[state.focus.side].place.get(focus);
  if (before[state.picked.side] !== now[state.picked.side]) state.picked.set = new Set();
  for (const side of ["a", "b"]) {
    if (before[side] !== now[side]) panels[side].view = { scale: 1, x: 0.5, y: 0.5 };
    panels[side].tip.hidden = true;
    panels[side].layOut();
    panels[side].draw();
    panels[side].caption.replaceChildren(...captionOf(side));
  }
  numbers();
  search();
  details();
  list();
  remember();
}

function captionOf(side) {
  const layer = now[side], dead = layer.n_features - layer.n_firing;
  const paired = now.pairs.of[side].filter((pairs) => pairs.length).length;
  const shownOf = layer.n < layer.n_firing ? count(layer.n) + " features drawn of " + count(layer.n_firing) + " that fire" : count(layer.n) + " features";
  return [
    make("b", side.toUpperCase() + ": " + data[side].name + ", layer " + layer.number),
    " (" + layer.sae + "): " + shownOf + ", " + count(paired) + " with a partner; " + count(dead) + " of " + count(layer.n_features) + " never fire and are not shown.",
  ];
}

function numbers() {
  const [la, lb] = state.layers.split(","), it = now.pairs.numbers;
  const [, label, meaning] = data.pairings.find(([key]) => key === state.pairing);
  const interval = "median_r_low" in it ? " [" + fixed(it.median_r_low) + ", " + fixed(it.median_r_high) + "]" : "";
  const nullPairs = "n_pairs_null" in it ? ", " + count(Math.round(it.n_pairs_null)) + " pairs" : "";
  byId("numbers").textContent = "Layer " + la + " of A, layer " + lb + " of B, " + label + ": " + count(now.pairs.n) + " pairs, median r "
    + fixed(it.median_r) + interval + "; null: median r " + fixed(it.median_r_null) + nullPairs + ".";
  byId("meaning").textContent = label[0].toUpperCase() + label.slice(1) + ": " + meaning + "."
    + (Object.keys(data.pairs[state.layers]).length === 1 ? " Other pairings were judged for the best layers only." : "");
}

// The address says what is shown, so that it can be kept and shared. A moment later: browsers refuse
// to change it at every point that the pointer passes.
let later;
function remember() {
  clearTimeout(later);
  later = setTimeout(() => {
    const parts = ["layers=" + state.layers, "pairing=" + state.pairing];
    if (state.focus) parts.push(state.focus.side + "=" + now[state.focus.side].feature[state.focus.i]);
    history.replaceState(null, "", "#" + parts.join("&"));
  }, 300);
}

function recall() {
  const asked = new URLSearchParams(location.hash.slice(1));
  if (Object.hasOwn(data.pairs, asked.get("layers"))) state.layers = asked.get("layers");
  if (Object.hasOwn(data.pairs[state.layers], asked.get("pairing"))) state.pairing = asked.get("pairing");
  return asked;
}

const panels = { a: new Panel("a"), b: new Panel("b") };

function start() {
  readColors();
  const layers = byId("layers"), best = make("optgroup", undefined, { label: "each layer of A and its best of B" });
  const others = make("optgroup", undefined, { label: "other layers" });
  for (const [la, lb, isBest] of data.layers) {
    (isBest ? best : others).append(make("option", "layer " + la + " of A, layer " + lb + " of B", { value: la + "," + lb }));
  }
  layers.append(best);
  if (others.children.length) layers.append(others);
  for (const [key, label] of data.pairings) {
    if (Object.values(data.pairs).some((judged) => key in judged)) byId("pairing").append(make("option", label, { value: key }));
  }
  byId("legend").append(...[
    ["ramp", "r from 0 to 1"], ["none", "no partner"], ["picked", "selected"], ["partner", "partner of it"], ["found", "found by the search"],
  ].map(([kind, text]) => { const span = make("span"); span.append(make("i", undefined, { class: kind }), text); return span; }));
  const asked = recall();
  layers.value = state.layers;
  for (const side of ["a", "b"]) panels[side].fit();
  change();
  for (const side of ["a", "b"]) {
    panels[side].fit();
    panels[side].draw();
    const i = now[side].place.get(Number(asked.get(side) ?? -1));
    if (i !== undefined) lookAt(side, i, false);
  }
  layers.addEventListener("change", () => { state.layers = layers.value; change(); });
  byId("pairing").addEventListener("change", (event) => { state.pairing = event.target.value; change(); });
  byId("search").addEventListener("input", search);
  byId("controls").addEventListener("submit", (event) => { event.preventDefault(); firstFound(); });
  byId("clear").addEventListener("click", () => { pick(state.picked.side, [], false); byId("selection-title").focus(); });
  for (const radio of document.getElementsByName("tool")) {
    radio.addEventListener("change", () => setTool(radio.value));
  }
  // With a finger one scrolls; dragging is chosen first.
  setTool(matchMedia("(pointer: coarse)").matches ? "look" : "box");
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColors(); panels.a.draw(); panels.b.draw(); drawMarks(); });
}

function setTool(tool) {
  state.tool = tool;
  for (const radio of document.getElementsByName("tool")) radio.checked = radio.value === tool;
  for (const panel of Object.values(panels)) panel.marks.classList.toggle("look", tool === "look");
}

document.documentElement.classList.add("js");
start();
// For scripts that work with the page: where a feature lies in the window, in CSS pixels.
window.featureMap = {
  place(side, feature) {
    const i = now[side].place.get(feature), box = panels[side].marks.getBoundingClientRect();
    return i === undefined ? null : [box.left + panels[side].x[i], box.top + panels[side].y[i]];
  },
};
