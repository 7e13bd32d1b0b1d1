"""The lessons beyond one person's JupyterLab: a site without a kernel, decks for a projector, recaps on paper."""
