// What is said in words: of the feature looked at, of the selection, of the pairing.

function make(tag, text, attributes) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
  return element;
}

function details() {
  const box = byId("details");
  if (!state.focus) {
    box.replaceChildren(
      make("p", "Point at a feature, or move to a map with Tab and use the arrow keys.", {
        class: "hint",
      }),
    );
    return;
  }
  const { side, i } = state.focus,
    other = OTHER[side];
  const own = described(side, i);
  const pairs = now.pairs.of[side][i];
  const second = make("div", undefined, { class: "partner" });
  if (!pairs.length) second.append(make("p", "It has no partner in this pairing."));
  else {
    const id = now.pairs.id[other][pairs[0]],
      j = now.pairs.at[other][pairs[0]];
    const line = make("p");
    line.append(
      "Partner: r ",
      make("strong", fixed(rOf(pairs[0]))),
      ", null " + fixed(now.pairs.numbers.median_r_null) + " (median)",
    );
    second.append(line);
    if (j >= 0) second.append(described(other, j));
    else
      second.append(
        make("h3", nameOf(other, id)),
        make("p", "It is not among the features drawn for the map."),
      );
    if (pairs.length > 1) {
      second.append(
        make(
          "p",
          "It is the partner of " +
            pairs.length +
            " features; the others" +
            (pairs.length > N_OTHERS + 1 ? ", the first " + N_OTHERS : "") +
            ":",
        ),
      );
      const list = make("div", undefined, { class: "others" });
      for (const pair of pairs.slice(1, N_OTHERS + 1)) {
        const k = now.pairs.at[other][pair];
        const button = make("button", now.pairs.id[other][pair] + " (" + fixed(rOf(pair)) + ")", {
          type: "button",
        });
        button.disabled = k < 0;
        button.addEventListener("click", () => {
          lookAt(other, k, true);
        });
        list.append(button);
      }
      second.append(list);
    }
  }
  box.replaceChildren(own, second);
}

function described(side, i) {
  const layer = now[side],
    box = make("div");
  box.append(make("h3", nameOf(side, layer.feature[i])));
  const tokens = make("p", undefined, { class: "tokens" });
  for (const [word, share] of wordsOf(side, i)) {
    tokens.append(
      tokens.hasChildNodes() ? " · " : "",
      make("code", shown(word)),
      " " + (share || "<1") + "%",
    );
  }
  box.append(
    tokens,
    make(
      "p",
      "Fires on " + count(layer.count[i]) + " of " + count(data[side].n_rows) + " positions.",
      { class: "where" },
    ),
  );
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
  const layer = now[side],
    text = textOf(side),
    peak = layer.row[k] - 1;
  const first = peak - layer.before[k],
    last = peak + layer.after[k];
  const item = make("li"),
    line = make("p", undefined, { class: "context", dir: "auto" });
  const kind = slot < data.n_top ? "top" : "drawn";
  item.append(
    make("span", layer.value[k].toPrecision(3), { class: "value" }),
    make("span", kind + ", document " + text.document[peak], { class: "where" }),
    line,
  );
  if (!(text.ends[first] & 1)) line.append(make("span", "…", { class: "cut" }));
  for (let row = first; row <= last; row++) {
    const level = layer.level[layer.start[k] + row - first],
      token = data[side].strings[text.row[row]];
    if (!level) {
      line.append(token);
      continue;
    }
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

function list() {
  const { side, set } = state.picked,
    other = OTHER[side],
    partners = partnersOf(side, set);
  byId("clear").hidden = !set.size;
  const without = [...set].filter((i) => !now.pairs.of[side][i].length).length;
  byId("selected").textContent = !set.size
    ? "Nothing is selected."
    : count(set.size) +
      (set.size === 1 ? " feature of " : " features of ") +
      side.toUpperCase() +
      (set.size === 1 ? " is" : " are") +
      " selected; " +
      count(partners.size) +
      (partners.size === 1 ? " partner in " : " partners in ") +
      other.toUpperCase() +
      (partners.size === 1 ? " is" : " are") +
      " marked" +
      (without ? "; " + count(without) + " without a partner." : ".");
  const box = byId("rows");
  box.replaceChildren();
  if (!set.size) return;
  const order = [...set].sort((i, j) => (bestR(side, j) || -2) - (bestR(side, i) || -2) || i - j);
  const table = make("table"),
    head = make("tr"),
    body = make("tbody"),
    top = make("thead");
  for (const [text, kind] of [
    ["feature of " + side.toUpperCase()],
    ["tokens"],
    ["r", "n"],
    ["partner in " + other.toUpperCase()],
    ["tokens"],
  ]) {
    head.append(make("th", text, kind ? { scope: "col", class: kind } : { scope: "col" }));
  }
  top.append(head);
  for (const i of order.slice(0, N_ROWS)) {
    const row = make("tr"),
      pair = bestPair(side, i);
    const j = pair === undefined ? -1 : now.pairs.at[other][pair];
    row.append(linked(side, i, now[side].feature[i]), make("td", shortly(side, i)));
    row.append(make("td", pair === undefined ? "" : fixed(rOf(pair)), { class: "n" }));
    row.append(
      pair === undefined ? make("td", "none") : linked(other, j, now.pairs.id[other][pair]),
      make("td", j < 0 ? "" : shortly(other, j)),
    );
    body.append(row);
  }
  table.append(top, body);
  box.append(table);
  if (order.length > N_ROWS)
    box.append(
      make("p", "The " + N_ROWS + " of highest r, of " + count(order.length) + ".", {
        class: "where",
      }),
    );
}

function linked(side, i, id) {
  const cell = make("td");
  if (i < 0) {
    cell.textContent = id + " (not on the map)";
    return cell;
  }
  const button = make("button", String(id), { type: "button" });
  button.addEventListener("click", () => lookAt(side, i, true));
  cell.append(button);
  return cell;
}

function captionOf(side) {
  const layer = now[side],
    dead = layer.n_features - layer.n_firing;
  const paired = now.pairs.of[side].filter((pairs) => pairs.length).length;
  const shownOf =
    layer.n < layer.n_firing
      ? count(layer.n) + " features drawn of " + count(layer.n_firing) + " that fire"
      : count(layer.n) + " features";
  return [
    make("b", side.toUpperCase() + ": " + data[side].name + ", layer " + layer.number),
    " (" +
      layer.sae +
      "): " +
      shownOf +
      ", " +
      count(paired) +
      " with a partner; " +
      count(dead) +
      " of " +
      count(layer.n_features) +
      " never fire and are not shown.",
  ];
}

function numbers() {
  const [la, lb] = state.layers.split(","),
    it = now.pairs.numbers;
  const [, label, meaning] = data.pairings.find(([key]) => key === state.pairing);
  const interval =
    "median_r_low" in it
      ? " [" + fixed(it.median_r_low) + ", " + fixed(it.median_r_high) + "]"
      : "";
  const nullPairs =
    "n_pairs_null" in it ? ", " + count(Math.round(it.n_pairs_null)) + " pairs" : "";
  byId("numbers").textContent =
    "Layer " +
    la +
    " of A, layer " +
    lb +
    " of B, " +
    label +
    ": " +
    count(now.pairs.n) +
    " pairs, median r " +
    fixed(it.median_r) +
    interval +
    "; null: median r " +
    fixed(it.median_r_null) +
    nullPairs +
    ".";
  byId("meaning").textContent =
    label[0].toUpperCase() +
    label.slice(1) +
    ": " +
    meaning +
    "." +
    (Object.keys(data.pairs[state.layers]).length === 1
      ? " Other pairings were judged for the best layers only."
      : "");
}
