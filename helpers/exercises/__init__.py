"""One module a lesson: its predictions and exercises, as values over `helpers.quiz`."""
