// What one of the two maps shows: its points, and what is marked on them.

// The colours of the style sheet, for the canvas.
let colors;
function readColors() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue("--" + name).trim();
  const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const low = rgb(of("low")),
    high = rgb(of("high"));
  const shade = (t) => "rgb(" + low.map((x, i) => Math.round(x + t * (high[i] - x))).join() + ")";
  colors = {
    paper: of("paper"),
    soft: of("soft"),
    partner: of("partner"),
    mark: of("mark"),
    link: of("link"),
    shades: Array.from({ length: SHADES }, (_, i) => shade(i / (SHADES - 1))),
  };
}

class Picture {
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
    new ResizeObserver(() => {
      this.fit();
      this.draw();
      this.mark();
    }).observe(this.plane);
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
    const room = (this.size - 2 * PAD) * this.view.scale,
      middle = this.size / 2;
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
    const cx = Math.floor(px / REACH),
      cy = Math.floor(py / REACH);
    let best = -1,
      least = REACH * REACH;
    for (let gx = cx - 1; gx <= cx + 1; gx++) {
      for (let gy = cy - 1; gy <= cy + 1; gy++) {
        for (const i of this.cells.get(gx + "," + gy) || []) {
          const d = (this.x[i] - px) ** 2 + (this.y[i] - py) ** 2;
          if (d < least) {
            best = i;
            least = d;
          }
        }
      }
    }
    return best;
  }

  radius() {
    return Math.min(
      6,
      Math.max(2.2, this.size / 16 / Math.sqrt(now[this.side].n) + 1.2) *
        Math.sqrt(this.view.scale) ** 0.5,
    );
  }

  draw() {
    const layer = now[this.side];
    if (!layer || !this.size) return;
    const context = this.points.getContext("2d"),
      radius = this.radius();
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
    const context = this.marks.getContext("2d"),
      radius = this.radius(),
      side = this.side;
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
          if (i >= 0) {
            disc(i, 2);
            ring(i, 5, 2, colors.partner);
          }
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

  zoom(factor, at) {
    const layer = now[this.side],
      focus = state.focus;
    if (!factor) this.view = { scale: 1, x: 0.5, y: 0.5 };
    else {
      const scale = Math.min(40, Math.max(1, this.view.scale * factor)),
        room = this.size - 2 * PAD;
      // What is under the pointer stays there; with buttons and keys the feature that is looked at
      // comes to lie in the middle.
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

  say(i) {
    const tip = this.tip,
      pair = bestPair(this.side, i),
      other = OTHER[this.side];
    tip.replaceChildren(
      make("strong", nameOf(this.side, now[this.side].feature[i])),
      " " + shortly(this.side, i),
      make("br"),
    );
    tip.append(
      pair === undefined
        ? "no partner in this pairing"
        : "r " + fixed(rOf(pair)) + " with " + nameOf(other, now.pairs.id[other][pair]),
    );
    tip.hidden = false;
    const right = this.x[i] > this.size / 2,
      low = this.y[i] > this.size / 2;
    const style = tip.style;
    style.left = right ? "" : this.x[i] + 12 + "px";
    style.right = right ? this.size - this.x[i] + 12 + "px" : "";
    style.top = low ? "" : this.y[i] + 12 + "px";
    style.bottom = low ? this.size - this.y[i] + 12 + "px" : "";
  }
}
