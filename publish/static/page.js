"use strict";

function flipbook(figure) {
  const { parts, frames } = JSON.parse(figure.querySelector("script").textContent);
  const [button, slider, said, frame] = ["button", "input", "output", ".frame"].map((name) => figure.querySelector(name));
  let timer = null;

  function show(number) {
    frame.innerHTML = frames[number].map((part) => parts[part]).join("");
    said.textContent = `${number} of ${frames.length - 1}`;
    slider.setAttribute("aria-valuetext", said.textContent);
    figure.dataset.shown = number;
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    button.textContent = "Play";
  }

  function step() {
    if (Number(slider.value) === frames.length - 1) {
      stop();
      return;
    }
    slider.value = Number(slider.value) + 1;
    show(Number(slider.value));
  }

  slider.addEventListener("input", () => show(Number(slider.value)));
  button.addEventListener("click", () => {
    if (timer) {
      stop();
      return;
    }
    if (Number(slider.value) === frames.length - 1) {
      slider.value = 0;
      show(0);
    }
    button.textContent = "Pause";
    timer = setInterval(step, Math.max(60, 3000 / frames.length));
  });
  slider.setAttribute("aria-valuetext", said.textContent);
}

function prediction(box) {
  const reply = box.querySelector(".reply");
  for (const button of box.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      for (const other of box.querySelectorAll("button")) other.setAttribute("aria-pressed", other === button);
      reply.dataset.state = button.dataset.state;
      reply.textContent = button.dataset.reply;
    });
  }
}

function finder(box) {
  const searched = new Finder(JSON.parse(box.querySelector("script").textContent));
  const place = box.querySelector("textarea");
  const found = box.querySelector(".found");
  const empty = found.textContent;
  place.addEventListener("input", () => {
    const hits = searched.find(place.value);
    if (!place.value.trim()) {
      found.textContent = empty;
    } else if (!hits.length) {
      found.textContent = found.dataset.none;
    } else {
      found.replaceChildren(...hits.map(entry));
    }
  });
}

function entry(hit) {
  const [row, name, link] = ["p", "b", "a"].map((tag) => document.createElement(tag));
  name.textContent = hit.name;
  link.textContent = hit.where;
  link.href = hit.link;
  row.append(name, document.createElement("br"), hit.advice, document.createElement("br"), link);
  return row;
}

function copyable(cell) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy the cure";
  button.addEventListener("click", async () => {
    const code = cell.querySelector("pre");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Selected: press Ctrl+C";
    }
  });
  cell.prepend(button);
}

function theme(button) {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const now = () => document.documentElement.dataset.theme || (dark.matches ? "dark" : "light");
  const say = () => { button.textContent = now() === "dark" ? "Light page" : "Dark page"; };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = now() === "dark" ? "light" : "dark";
    try { localStorage.setItem("theme", now()); } catch { /* a page opened as a file may have no storage */ }
    say();
  });
  dark.addEventListener("change", say);
  say();
}

try {
  const kept = localStorage.getItem("theme");
  if (kept) document.documentElement.dataset.theme = kept;
} catch { /* as above */ }
document.querySelectorAll(".flipbook").forEach(flipbook);
document.querySelectorAll(".predict").forEach(prediction);
document.querySelectorAll(".finder").forEach(finder);
document.querySelectorAll(".celltag_cure").forEach(copyable);
document.querySelectorAll("#theme").forEach(theme);
