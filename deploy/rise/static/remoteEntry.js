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
