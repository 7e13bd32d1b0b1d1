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

const COMMON = new Set(["the", "and", "for", "not", "state_dict", "model"]);

function words(text) {
  return new Set((text.match(/[a-z_']{3,}/g) || []).filter((word) => !COMMON.has(word)));
}

function score(sign, line) {
  if (line.includes(sign)) return 10 + sign.length;
  if (line.length > 3 && sign.includes(line)) return 5 + line.length;
  const wanted = words(sign);
  const common = [...wanted].filter((word) => words(line).has(word)).length;
  return common * 2 > wanted.size ? common / wanted.size : 0;
}

function find(symptoms, text, most = 3) {
  const line = text.toLowerCase().split(/\s+/).filter(Boolean).join(" ");
  return symptoms
    .map((symptom) => ({ symptom, score: Math.max(...symptom.signs.map((sign) => score(sign, line))) }))
    .filter((hit) => hit.score > 0)
    .sort((one, other) => other.score - one.score)
    .slice(0, most)
    .map((hit) => hit.symptom);
}

function finder(box) {
  const symptoms = JSON.parse(box.querySelector("script").textContent);
  const line = box.querySelector("input");
  const found = box.querySelector(".found");
  const empty = found.textContent;
  line.addEventListener("input", () => {
    const hits = find(symptoms, line.value);
    if (!line.value.trim()) {
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
  link.textContent = `Lesson ${hit.lesson.slice(0, 2)}: ${hit.section}`;
  link.href = `${hit.lesson}.html#${hit.section.replaceAll(" ", "-")}`;
  row.append(name, document.createElement("br"), hit.advice, document.createElement("br"), link);
  return row;
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
document.querySelectorAll("#theme").forEach(theme);
