//! The operator console: runner, events, keymap, state, views, widgets, themes. Never touches `engine` or `transport`.
