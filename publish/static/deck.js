"use strict";

function fit(box) {
  for (let height = 560; height >= 200; height -= 10) {
    box.style.setProperty("--picture", `${height}px`);
    if (box.scrollHeight <= box.clientHeight) return;
  }
}

Reveal.initialize({ width: 1280, height: 720, margin: 0, center: false, hash: true, transition: "none", controlsLayout: "edges",
  keyboardCondition: (event) => !event.target.matches("input, button, summary") });
function fitted() {
  Reveal.getCurrentSlide().querySelectorAll(".fit").forEach(fit);
}

Reveal.on("ready", fitted);
Reveal.on("slidechanged", fitted);
