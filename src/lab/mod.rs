//! The small fleet that `lbdeck lab` starts on loopback.
