//! The relay's layer 7: heads of messages, HTTP/1.1 and HTTP/2, and the path of a request from a client to a server and back.

pub mod backend;
pub mod body;
mod cached;
pub mod client;
pub mod exchange;
pub mod forward;
pub mod head;
pub mod http1;
pub mod http2;
mod mirror;
mod own;
pub mod serve;
pub mod side;
pub mod site;
pub mod spare;
pub mod story;
pub mod upgrade;
pub mod upstream;
