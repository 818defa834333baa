"use strict";
// Two maps of features, linked by their partners. All data are in the page; nothing is fetched.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const KINDS = {
  u1: Uint8Array,
  u2: Uint16Array,
  u4: Uint32Array,
  i2: Int16Array,
  f4: Float32Array,
};
const UNIT = 65535,
  R_UNIT = 32767,
  LEVELS = 255;
const OTHER = { a: "b", b: "a" };
const PAD = 14,
  REACH = 14,
  N_NEAREST = 10,
  N_ROWS = 200,
  N_OTHERS = 8,
  SHADES = 16;

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
  row: unpack(data[side].text),
  ends: unpack(data[side].ends),
  document: unpack(data[side].document),
}));

const layerOf = once((side, number) => {
  const packed = data[side].layers[number];
  const layer = { side, number, ...packed };
  for (const key of [
    "feature",
    "count",
    "x",
    "y",
    "word",
    "share",
    "row",
    "before",
    "after",
    "value",
    "level",
  ]) {
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
  layers: data.layers[0].slice(0, 2).join(),
  pairing: data.pairings[0][0],
  tool: "box",
  focus: null,
  picked: { side: "a", set: new Set() },
  found: { a: new Set(), b: new Set() },
};
const now = { a: null, b: null, pairs: null };

function fixed(value) {
  return value.toFixed(2).replace("-", "−");
}
function count(n) {
  return n.toLocaleString("en");
}
function rOf(i) {
  return now.pairs.r[i] / R_UNIT;
}
function nameOf(side, id) {
  return side.toUpperCase() + "/" + now[side].number + "/" + id;
}
function wordsOf(side, i) {
  const k = data[side].n_words,
    layer = now[side],
    found = [];
  for (let j = i * k; j < (i + 1) * k; j++) {
    if (layer.word[j]) found.push([data[side].words[layer.word[j] - 1], layer.share[j]]);
  }
  return found;
}
function shortly(side, i) {
  return wordsOf(side, i)
    .slice(0, 3)
    .map(([word]) => shown(word))
    .join(" · ");
}
function shown(word) {
  return word.replaceAll(" ", "␣");
}
function bestPair(side, i) {
  return now.pairs.of[side][i][0];
}
function bestR(side, i) {
  const pair = bestPair(side, i);
  return pair === undefined ? NaN : rOf(pair);
}
function byR(side) {
  const r = Array.from({ length: now[side].n }, (_, i) => bestR(side, i));
  return [...r.keys()].sort((i, j) => isNaN(r[i]) - isNaN(r[j]) || r[j] - r[i] || i - j);
}
