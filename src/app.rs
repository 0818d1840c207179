//! Composition root: builds the parts and hands them over. The only file that sees all layers.
