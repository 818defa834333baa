// What both maps share: the feature that is looked at, the selection, the search, the choices.

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

function drawMarks() {
  panels.a.mark();
  panels.b.mark();
}

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
    const pair = bestPair(side, i),
      other = OTHER[side];
    const partner =
      pair === undefined
        ? "no partner"
        : "r " + fixed(rOf(pair)) + " with " + now.pairs.id[other][pair];
    byId("spoken").textContent =
      "Feature " +
      now[side].feature[i] +
      " of " +
      side.toUpperCase() +
      ": " +
      shortly(side, i) +
      "; " +
      partner;
  }
}

function goToPartner(side, i) {
  const pair = bestPair(side, i),
    other = OTHER[side];
  const j = pair === undefined ? -1 : now.pairs.at[other][pair];
  if (j < 0) {
    byId("spoken").textContent = "No partner on the map.";
    return;
  }
  state.focus = { side: other, i: j };
  panels[other].marks.focus({ preventScroll: true });
  lookAt(other, j, true);
  details();
  drawMarks();
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

function search() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const line = byId("found");
  for (const side of ["a", "b"]) {
    state.found[side] = new Set();
    if (!words.length) continue;
    for (let i = 0; i < now[side].n; i++) {
      const own = wordsOf(side, i),
        id = String(now[side].feature[i]);
      if (words.every((word) => word === id || own.some(([token]) => token.includes(word))))
        state.found[side].add(i);
    }
  }
  drawMarks();
  line.replaceChildren();
  if (!words.length) return;
  line.append(
    "Found " +
      count(state.found.a.size) +
      " of " +
      count(now.a.n) +
      " in A, " +
      count(state.found.b.size) +
      " of " +
      count(now.b.n) +
      " in B (framed).",
  );
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
    if (best !== undefined) {
      lookAt(side, best, true);
      return;
    }
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

// The address says what is shown, so that it can be kept and shared. A moment later: browsers
// refuse to change it at every point that the pointer passes.
let later;
function remember() {
  clearTimeout(later);
  later = setTimeout(() => {
    const parts = ["layers=" + state.layers, "pairing=" + state.pairing];
    if (state.focus)
      parts.push(state.focus.side + "=" + now[state.focus.side].feature[state.focus.i]);
    history.replaceState(null, "", "#" + parts.join("&"));
  }, 300);
}

function recall() {
  const asked = new URLSearchParams(location.hash.slice(1));
  if (Object.hasOwn(data.pairs, asked.get("layers"))) state.layers = asked.get("layers");
  if (Object.hasOwn(data.pairs[state.layers], asked.get("pairing")))
    state.pairing = asked.get("pairing");
  return asked;
}

const panels = { a: new Panel("a"), b: new Panel("b") };

function start() {
  readColors();
  const layers = byId("layers"),
    best = make("optgroup", undefined, { label: "each layer of A and its best of B" });
  const others = make("optgroup", undefined, { label: "other layers" });
  for (const [la, lb, isBest] of data.layers) {
    (isBest ? best : others).append(
      make("option", "layer " + la + " of A, layer " + lb + " of B", { value: la + "," + lb }),
    );
  }
  layers.append(best);
  if (others.children.length) layers.append(others);
  for (const [key, label] of data.pairings) {
    if (Object.values(data.pairs).some((judged) => key in judged))
      byId("pairing").append(make("option", label, { value: key }));
  }
  byId("legend").append(
    ...[
      ["ramp", "r from 0 to 1"],
      ["none", "no partner"],
      ["picked", "selected"],
      ["partner", "partner of it"],
      ["found", "found by the search"],
    ].map(([kind, text]) => {
      const span = make("span");
      span.append(make("i", undefined, { class: kind }), text);
      return span;
    }),
  );
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
  layers.addEventListener("change", () => {
    state.layers = layers.value;
    change();
  });
  byId("pairing").addEventListener("change", (event) => {
    state.pairing = event.target.value;
    change();
  });
  byId("search").addEventListener("input", search);
  byId("controls").addEventListener("submit", (event) => {
    event.preventDefault();
    firstFound();
  });
  byId("clear").addEventListener("click", () => {
    pick(state.picked.side, [], false);
    byId("selection-title").focus();
  });
  for (const radio of document.getElementsByName("tool")) {
    radio.addEventListener("change", () => setTool(radio.value));
  }
  // With a finger one scrolls; dragging is chosen first.
  setTool(matchMedia("(pointer: coarse)").matches ? "look" : "box");
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    readColors();
    panels.a.draw();
    panels.b.draw();
    drawMarks();
  });
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
    const i = now[side].place.get(feature),
      box = panels[side].marks.getBoundingClientRect();
    return i === undefined ? null : [box.left + panels[side].x[i], box.top + panels[side].y[i]];
  },
};
