"use strict";
// One feature at a time, a search and an order. Without it the page shows all features in a row.
const root = document.documentElement;
const list = document.getElementById("list");
const rows = [...list.children];
const search = document.getElementById("search");
const order = document.getElementById("order");
const found = document.getElementById("found");

function show(moveFocus) {
  const named = document.getElementById(location.hash.slice(1));
  const current = document.querySelector("article.current");
  const known = named && named.matches("article");
  const article = known ? named : current || document.querySelector("article");
  if (current) current.classList.remove("current");
  article.classList.add("current");
  for (const row of rows) {
    const link = row.firstElementChild;
    if (link.hash === "#" + article.id) {
      link.setAttribute("aria-current", "true");
      // Not scrollIntoView, which would scroll the page as well.
      const top = row.offsetTop - list.offsetTop;
      if (top < list.scrollTop || top + row.offsetHeight > list.scrollTop + list.clientHeight) {
        list.scrollTop = top - list.clientHeight / 2;
      }
    } else link.removeAttribute("aria-current");
  }
  // The browser's own jump to the fragment comes after this event, and would take the focus away.
  if (moveFocus && known) {
    setTimeout(() => {
      article.scrollIntoView();
      article.querySelector("h2").focus({ preventScroll: true });
    });
  }
}

function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let n = 0;
  for (const row of rows) {
    row.hidden = !words.every((word) => row.dataset.search.includes(word));
    if (!row.hidden) n += 1;
  }
  found.textContent = n + " of " + rows.length + " features";
}

function sort() {
  const key = order.value;
  const sign = key === "id" ? 1 : -1;
  rows.sort((a, b) => sign * (a.dataset[key] - b.dataset[key]) || a.dataset.id - b.dataset.id);
  list.append(...rows);
}

// Arrow keys move through the list; the links themselves are in the tab order.
list.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const links = rows.filter((row) => !row.hidden).map((row) => row.firstElementChild);
  const next = links[links.indexOf(document.activeElement) + step];
  if (next) {
    event.preventDefault();
    next.focus();
  }
});
search.form.addEventListener("submit", (event) => event.preventDefault());
search.addEventListener("input", filter);
order.addEventListener("change", sort);
addEventListener("hashchange", () => show(true));
root.classList.add("js");
sort();
filter();
show(Boolean(location.hash));
