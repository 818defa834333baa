// What one does on a map, with the pointer and with keys.

class Panel extends Picture {
  constructor(side) {
    super(side);
    this.marks.addEventListener("pointerdown", (event) => this.down(event));
    this.marks.addEventListener("pointermove", (event) => this.move(event));
    this.marks.addEventListener("pointerup", (event) => this.up(event));
    this.marks.addEventListener("pointercancel", () => this.stop());
    // A finger leaves at once; what it has touched stays named.
    this.marks.addEventListener("pointerleave", (event) => {
      if (event.pointerType !== "touch") this.tip.hidden = true;
    });
    this.marks.addEventListener("keydown", (event) => this.key(event));
    this.marks.addEventListener("focus", () => this.focused());
    this.marks.addEventListener("blur", () => {
      this.tip.hidden = true;
      drawMarks();
    });
    this.marks.addEventListener(
      "wheel",
      (event) => {
        if (!event.ctrlKey) return;
        event.preventDefault();
        this.zoom(event.deltaY < 0 ? 1.25 : 0.8, this.at(event));
      },
      { passive: false },
    );
    for (const button of byId("panel-" + side).querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", () => this.zoom(Number(button.dataset.zoom)));
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
        if (state.tool === "box")
          drag.path = [
            [x0, y0],
            [x, y0],
            [x, y],
            [x0, y],
          ];
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
      for (let i = 0; i < now[this.side].n; i++)
        if (within(drag.path, this.x[i], this.y[i])) inside.push(i);
      pick(this.side, inside, event.shiftKey);
      return;
    }
    const i = this.hit(this.at(event));
    if (i >= 0) lookAt(this.side, i, false);
    if (i >= 0 || !event.shiftKey) pick(this.side, i < 0 ? [] : [i], event.shiftKey);
  }

  stop() {
    this.drag = null;
    this.mark();
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
    let best = -1,
      least = Infinity;
    for (let i = 0; i < now[this.side].n; i++) {
      const x = this.x[i] - this.x[from],
        y = this.y[i] - this.y[from];
      const ahead = x * dx + y * dy,
        beside = Math.abs(x * dy) + Math.abs(y * dx);
      if (i === from || ahead <= 0 || beside > ahead) continue;
      const cost = ahead + 2 * beside;
      if (cost < least) {
        best = i;
        least = cost;
      }
    }
    return best;
  }

  nearest(i) {
    const d = (j) => (this.x[j] - this.x[i]) ** 2 + (this.y[j] - this.y[i]) ** 2;
    return [...now[this.side].feature.keys()]
      .sort((j, k) => d(j) - d(k) || j - k)
      .slice(0, N_NEAREST + 1);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const side = this.side;
    const i = this.entry(),
      here = state.focus && state.focus.side === side;
    const go = (j) => {
      if (j !== undefined && j >= 0) lookAt(side, here ? j : i, true);
    };
    const actions = {
      ArrowLeft: () => go(this.next(i, -1, 0)),
      ArrowRight: () => go(this.next(i, 1, 0)),
      ArrowUp: () => go(this.next(i, 0, -1)),
      ArrowDown: () => go(this.next(i, 0, 1)),
      Home: () => lookAt(side, byR(side)[0], true),
      PageDown: () => {
        const order = byR(side);
        go(order[order.indexOf(i) + 1]);
      },
      PageUp: () => {
        const order = byR(side);
        go(order[order.indexOf(i) - 1]);
      },
      " ": () => toggle(side, i),
      Enter: () => toggle(side, i),
      n: () => pick(side, this.nearest(i), false),
      p: () => goToPartner(side, i),
      Escape: () => pick(side, [], false),
      "+": () => this.zoom(1.5),
      "=": () => this.zoom(1.5),
      "-": () => this.zoom(1 / 1.5),
      0: () => this.zoom(0),
    };
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }
}

function within(path, x, y) {
  let inside = false;
  for (let i = 0, j = path.length - 1; i < path.length; j = i++) {
    const [xi, yi] = path[i],
      [xj, yj] = path[j];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside;
  }
  return inside;
}
