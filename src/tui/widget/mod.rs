//! Pieces that views are put together from. They draw into a buffer and know nothing of the application's state.

pub mod chart;
pub mod popup;
pub mod table;
pub mod text;
