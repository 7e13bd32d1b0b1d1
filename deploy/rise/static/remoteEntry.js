"use strict";

var _JUPYTERLAB = window._JUPYTERLAB || {};
window._JUPYTERLAB = _JUPYTERLAB;
_JUPYTERLAB["rise-widgets"] = {
  init(scope) {
    const name = "@jupyterlab/console";
    scope[name] ??= {
      "4.6.6": { get: async () => () => ({ IConsoleTracker: { name } }), from: "rise-widgets", eager: false, loaded: 1 },
    };
  },
  get: async () => () => ({ __esModule: true, default: [] }),
};

/* On a slide, keys that move the focused slider or number field do not turn the page. RISE reads keyCode, the slider key. */
window.addEventListener("keydown", (event) => {
  if (!event.isTrusted || !/^(Arrow|Page|Home|End)/.test(event.key)) return;
  const control = event.target.closest?.(".reveal .noUi-handle, .reveal input, .reveal select");
  if (!control) return;
  event.stopImmediatePropagation();
  if (control.matches(".noUi-handle")) {
    event.preventDefault();
    control.dispatchEvent(new KeyboardEvent("keydown", { key: event.key, cancelable: true }));
  }
}, true);
